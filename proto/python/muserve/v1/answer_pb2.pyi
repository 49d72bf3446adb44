from google.api import annotations_pb2 as _annotations_pb2
from muserve.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnswerQuestionRequest(_message.Message):
    __slots__ = ("model", "version", "question", "context", "count", "seed", "first_sample", "max_tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    FIRST_SAMPLE_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    question: str
    context: str
    count: int
    seed: int
    first_sample: int
    max_tokens: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., question: _Optional[str] = ..., context: _Optional[str] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ..., first_sample: _Optional[int] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class AnswerQuestionResponse(_message.Message):
    __slots__ = ("info", "answers", "answerable", "is_answerable", "source", "nearest", "question_read")
    INFO_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    ANSWERABLE_FIELD_NUMBER: _ClassVar[int]
    IS_ANSWERABLE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    NEAREST_FIELD_NUMBER: _ClassVar[int]
    QUESTION_READ_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    answerable: float
    is_answerable: bool
    source: Source
    nearest: _containers.RepeatedScalarFieldContainer[str]
    question_read: str
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ..., answerable: _Optional[float] = ..., is_answerable: bool = ..., source: _Optional[_Union[Source, _Mapping]] = ..., nearest: _Optional[_Iterable[str]] = ..., question_read: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("text", "score", "evidence", "sample")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    evidence: Evidence
    sample: int
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., sample: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("text", "start", "end")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    text: str
    start: int
    end: int
    def __init__(self, text: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("title", "aliases", "text", "corpus")
    TITLE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CORPUS_FIELD_NUMBER: _ClassVar[int]
    title: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    text: str
    corpus: str
    def __init__(self, title: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., text: _Optional[str] = ..., corpus: _Optional[str] = ...) -> None: ...

class GenerateQuestionsRequest(_message.Message):
    __slots__ = ("model", "version", "context", "count", "seed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    version: int
    context: str
    count: int
    seed: int
    def __init__(self, model: _Optional[str] = ..., version: _Optional[int] = ..., context: _Optional[str] = ..., count: _Optional[int] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateQuestionsResponse(_message.Message):
    __slots__ = ("info", "pairs", "rejected")
    INFO_FIELD_NUMBER: _ClassVar[int]
    PAIRS_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    info: _common_pb2.ResponseInfo
    pairs: _containers.RepeatedCompositeFieldContainer[QuestionAnswer]
    rejected: int
    def __init__(self, info: _Optional[_Union[_common_pb2.ResponseInfo, _Mapping]] = ..., pairs: _Optional[_Iterable[_Union[QuestionAnswer, _Mapping]]] = ..., rejected: _Optional[int] = ...) -> None: ...

class QuestionAnswer(_message.Message):
    __slots__ = ("question", "answer", "evidence", "kind", "score")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    question: str
    answer: str
    evidence: Evidence
    kind: str
    score: float
    def __init__(self, question: _Optional[str] = ..., answer: _Optional[str] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., kind: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...
