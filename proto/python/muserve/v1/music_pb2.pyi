from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GenerateMusicRequest(_message.Message):
    __slots__ = ("model", "version", "count", "style", "tempo_bpm", "bars", "tracks", "density", "seed", "first_sample", "piano_roll")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PIANO_ROLL_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    count: int
    style: str
    tempo_bpm: float
    bars: int
    tracks: _containers.RepeatedScalarFieldContainer[str]
    density: float
    seed: int
    first_sample: int
    piano_roll: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., count: _Optional[int] = ..., style: _Optional[str] = ..., tempo_bpm: _Optional[float] = ..., bars: _Optional[int] = ..., tracks: _Optional[_Iterable[str]] = ..., density: _Optional[float] = ..., seed: _Optional[int] = ..., first_sample: _Optional[int] = ..., piano_roll: bool = ...) -> None: ...

class GenerateMusicResponse(_message.Message):
    __slots__ = ("info", "pieces")
    INFO_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    pieces: _containers.RepeatedCompositeFieldContainer[MusicPiece]
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., pieces: _Optional[_Iterable[_Union[MusicPiece, _Mapping]]] = ...) -> None: ...

class AccompanyRequest(_message.Message):
    __slots__ = ("model", "version", "midi", "roles", "tracks", "style", "count", "density", "seed", "first_sample", "piano_roll")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MIDI_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    PIANO_ROLL_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    midi: bytes
    roles: _containers.RepeatedCompositeFieldContainer[TrackRole]
    tracks: _containers.RepeatedScalarFieldContainer[str]
    style: str
    count: int
    density: float
    seed: int
    first_sample: int
    piano_roll: bool
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., midi: _Optional[bytes] = ..., roles: _Optional[_Iterable[_Union[TrackRole, _Mapping]]] = ..., tracks: _Optional[_Iterable[str]] = ..., style: _Optional[str] = ..., count: _Optional[int] = ..., density: _Optional[float] = ..., seed: _Optional[int] = ..., first_sample: _Optional[int] = ..., piano_roll: bool = ...) -> None: ...

class TrackRole(_message.Message):
    __slots__ = ("track", "role")
    TRACK_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    track: int
    role: str
    def __init__(self, track: _Optional[int] = ..., role: _Optional[str] = ...) -> None: ...

class AccompanyResponse(_message.Message):
    __slots__ = ("info", "pieces", "roles", "quantisation")
    INFO_FIELD_NUMBER: _ClassVar[int]
    PIECES_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    QUANTISATION_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    pieces: _containers.RepeatedCompositeFieldContainer[MusicPiece]
    roles: _containers.RepeatedCompositeFieldContainer[TrackRole]
    quantisation: Quantisation
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., pieces: _Optional[_Iterable[_Union[MusicPiece, _Mapping]]] = ..., roles: _Optional[_Iterable[_Union[TrackRole, _Mapping]]] = ..., quantisation: _Optional[_Union[Quantisation, _Mapping]] = ...) -> None: ...

class Quantisation(_message.Message):
    __slots__ = ("notes", "folded_notes", "mean_error_steps", "on_grid_share", "bars")
    NOTES_FIELD_NUMBER: _ClassVar[int]
    FOLDED_NOTES_FIELD_NUMBER: _ClassVar[int]
    MEAN_ERROR_STEPS_FIELD_NUMBER: _ClassVar[int]
    ON_GRID_SHARE_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    notes: int
    folded_notes: int
    mean_error_steps: float
    on_grid_share: float
    bars: int
    def __init__(self, notes: _Optional[int] = ..., folded_notes: _Optional[int] = ..., mean_error_steps: _Optional[float] = ..., on_grid_share: _Optional[float] = ..., bars: _Optional[int] = ...) -> None: ...

class MusicPiece(_message.Message):
    __slots__ = ("midi", "sample", "style", "tempo_bpm", "bars", "tracks", "piano_roll_png")
    MIDI_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    TEMPO_BPM_FIELD_NUMBER: _ClassVar[int]
    BARS_FIELD_NUMBER: _ClassVar[int]
    TRACKS_FIELD_NUMBER: _ClassVar[int]
    PIANO_ROLL_PNG_FIELD_NUMBER: _ClassVar[int]
    midi: bytes
    sample: int
    style: str
    tempo_bpm: float
    bars: int
    tracks: _containers.RepeatedCompositeFieldContainer[MusicTrack]
    piano_roll_png: bytes
    def __init__(self, midi: _Optional[bytes] = ..., sample: _Optional[int] = ..., style: _Optional[str] = ..., tempo_bpm: _Optional[float] = ..., bars: _Optional[int] = ..., tracks: _Optional[_Iterable[_Union[MusicTrack, _Mapping]]] = ..., piano_roll_png: _Optional[bytes] = ...) -> None: ...

class MusicTrack(_message.Message):
    __slots__ = ("name", "role", "program", "drums", "notes", "given")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    DRUMS_FIELD_NUMBER: _ClassVar[int]
    NOTES_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    program: int
    drums: bool
    notes: int
    given: bool
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., program: _Optional[int] = ..., drums: bool = ..., notes: _Optional[int] = ..., given: bool = ...) -> None: ...
