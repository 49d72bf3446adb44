import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Task(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_UNSPECIFIED: _ClassVar[Task]
    TASK_IMAGE: _ClassVar[Task]
    TASK_FORECAST: _ClassVar[Task]
    TASK_MUSIC: _ClassVar[Task]
    TASK_TRANSLATION: _ClassVar[Task]
    TASK_ANSWER: _ClassVar[Task]
TASK_UNSPECIFIED: Task
TASK_IMAGE: Task
TASK_FORECAST: Task
TASK_MUSIC: Task
TASK_TRANSLATION: Task
TASK_ANSWER: Task

class ResponseInfo(_message.Message):
    __slots__ = ("model", "version", "digest", "seed", "timings", "request_id", "server_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    digest: str
    seed: int
    timings: Timings
    request_id: str
    server_version: str
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., seed: _Optional[int] = ..., timings: _Optional[_Union[Timings, _Mapping]] = ..., request_id: _Optional[str] = ..., server_version: _Optional[str] = ...) -> None: ...

class Timings(_message.Message):
    __slots__ = ("queue", "compute", "encode", "batch_rows")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    queue: _duration_pb2.Duration
    compute: _duration_pb2.Duration
    encode: _duration_pb2.Duration
    batch_rows: int
    def __init__(self, queue: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., compute: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., encode: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., batch_rows: _Optional[int] = ...) -> None: ...
