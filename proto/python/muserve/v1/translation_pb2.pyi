from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranslateImageRequest(_message.Message):
    __slots__ = ("model", "version", "image", "target", "cycle", "side_by_side")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    SIDE_BY_SIDE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    image: bytes
    target: str
    cycle: bool
    side_by_side: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., image: _Optional[bytes] = ..., target: _Optional[str] = ..., cycle: bool = ..., side_by_side: bool = ...) -> None: ...

class TranslateImageResponse(_message.Message):
    __slots__ = ("info", "png", "width", "height", "source", "target", "cycle", "side_by_side_png")
    INFO_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    SIDE_BY_SIDE_PNG_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    png: bytes
    width: int
    height: int
    source: str
    target: str
    cycle: CycleReconstruction
    side_by_side_png: bytes
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., png: _Optional[bytes] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., source: _Optional[str] = ..., target: _Optional[str] = ..., cycle: _Optional[_Union[CycleReconstruction, _Mapping]] = ..., side_by_side_png: _Optional[bytes] = ...) -> None: ...

class CycleReconstruction(_message.Message):
    __slots__ = ("png", "mean_absolute_error")
    PNG_FIELD_NUMBER: _ClassVar[int]
    MEAN_ABSOLUTE_ERROR_FIELD_NUMBER: _ClassVar[int]
    png: bytes
    mean_absolute_error: float
    def __init__(self, png: _Optional[bytes] = ..., mean_absolute_error: _Optional[float] = ...) -> None: ...
