from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageLayout(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_LAYOUT_UNSPECIFIED: _ClassVar[ImageLayout]
    IMAGE_LAYOUT_SEPARATE: _ClassVar[ImageLayout]
    IMAGE_LAYOUT_CONTACT_SHEET: _ClassVar[ImageLayout]
IMAGE_LAYOUT_UNSPECIFIED: ImageLayout
IMAGE_LAYOUT_SEPARATE: ImageLayout
IMAGE_LAYOUT_CONTACT_SHEET: ImageLayout

class GenerateImagesRequest(_message.Message):
    __slots__ = ("model", "version", "count", "labels", "seed", "first_sample", "truncation", "layout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    count: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    first_sample: int
    truncation: float
    layout: ImageLayout
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., count: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ..., first_sample: _Optional[int] = ..., truncation: _Optional[float] = ..., layout: _Optional[_Union[ImageLayout, str]] = ...) -> None: ...

class GenerateImagesResponse(_message.Message):
    __slots__ = ("info", "images")
    INFO_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    images: _containers.RepeatedCompositeFieldContainer[GeneratedImage]
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., images: _Optional[_Iterable[_Union[GeneratedImage, _Mapping]]] = ...) -> None: ...

class GeneratedImage(_message.Message):
    __slots__ = ("png", "width", "height", "sample", "labels")
    PNG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    png: bytes
    width: int
    height: int
    sample: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, png: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., sample: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...
