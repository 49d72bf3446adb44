from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MakePalettesRequest(_message.Message):
    __slots__ = ("model", "version", "mood", "count", "seed", "first_sample")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MOOD_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    mood: str
    count: int
    seed: int
    first_sample: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., mood: _Optional[str] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ..., first_sample: _Optional[int] = ...) -> None: ...

class MakePalettesResponse(_message.Message):
    __slots__ = ("palettes", "nearest_mood", "similarity", "info")
    PALETTES_FIELD_NUMBER: _ClassVar[int]
    NEAREST_MOOD_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    palettes: _containers.RepeatedCompositeFieldContainer[Palette]
    nearest_mood: str
    similarity: float
    info: _common_pb2.ResponseInfo
    def __init__(self, palettes: _Optional[_Iterable[_Union[Palette, _Mapping]]] = ..., nearest_mood: _Optional[str] = ..., similarity: _Optional[float] = ..., info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ...) -> None: ...

class Palette(_message.Message):
    __slots__ = ("colours", "sample", "swatch_png")
    COLOURS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    SWATCH_PNG_FIELD_NUMBER: _ClassVar[int]
    colours: _containers.RepeatedScalarFieldContainer[str]
    sample: int
    swatch_png: bytes
    def __init__(self, colours: _Optional[_Iterable[str]] = ..., sample: _Optional[int] = ..., swatch_png: _Optional[bytes] = ...) -> None: ...

class PaletteSettings(_message.Message):
    __slots__ = ("graph", "latent_size", "word_size", "moods")
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    LATENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    WORD_SIZE_FIELD_NUMBER: _ClassVar[int]
    MOODS_FIELD_NUMBER: _ClassVar[int]
    graph: str
    latent_size: int
    word_size: int
    moods: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, graph: _Optional[str] = ..., latent_size: _Optional[int] = ..., word_size: _Optional[int] = ..., moods: _Optional[_Iterable[str]] = ...) -> None: ...
