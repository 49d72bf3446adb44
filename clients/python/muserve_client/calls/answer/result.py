"""Answers to questions, and questions with answers, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from muserve.v1 import answer_pb2
from muserve_client.info import Info, read_info

__all__ = [
    "Answer",
    "Answers",
    "Evidence",
    "QuestionAnswer",
    "Questions",
    "Source",
    "read_answers",
    "read_questions",
]


@dataclass(frozen=True)
class Evidence:
    """A piece of what was read."""

    text: str
    """The piece itself."""
    start: int
    """Its first character, counted from 0: in the context that was given, or else in `Source.text`."""
    end: int
    """One after its last."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    text: str
    """A sentence."""
    score: float
    """Probability of its tokens, as their geometric mean: 0 up to 1."""
    evidence: Evidence | None
    """Where it stands; None if nowhere."""
    sample: int
    """Index of the answer in the seed's series."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Source:
    """The entry of the model's corpus that an answer comes from."""

    title: str
    """Its name."""
    aliases: tuple[str, ...]
    """What else it is called."""
    text: str
    """The passage that was read."""
    corpus: str
    """Which corpus of the model it is from; licences differ, the model's manifest names them."""


@dataclass(frozen=True)
class Answers(Sequence[Answer]):
    """The answers to a question: a sequence, empty if it cannot be answered."""

    answers: tuple[Answer, ...]
    """The likeliest first, then drawn ones."""
    answerable: float
    """Probability that what was read answers the question."""
    is_answerable: bool
    """Whether it is high enough, by the model's own threshold."""
    source: Source | None
    """What was read; None for a context that was given, or if nothing was found."""
    nearest: tuple[str, ...]
    """Entries nearest to the question; of use where there is no answer."""
    question_read: str
    """The question as it was read, misspelled words mended."""
    info: Info
    """Model, seed and timings."""

    @property
    def text(self) -> str:
        """The first answer; "" if there is none."""
        return self.answers[0].text if self.answers else ""

    def __str__(self) -> str:
        return self.text

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Answer]: ...
    def __getitem__(self, index: int | slice) -> Answer | Sequence[Answer]:
        return self.answers[index]


@dataclass(frozen=True)
class QuestionAnswer:
    """A question with its answer, which was found again by asking it of the same passage."""

    question: str
    """What is asked."""
    answer: str
    """A sentence."""
    evidence: Evidence
    """Where the answer stands in the context."""
    kind: str
    """Such as "who"; the model's manifest lists them."""
    score: float
    """Probability of the question's tokens, as their geometric mean: 0 up to 1."""


@dataclass(frozen=True)
class Questions(Sequence[QuestionAnswer]):
    """Questions that a text answers, in the order of the text: a sequence."""

    pairs: tuple[QuestionAnswer, ...]
    """No two ask the same."""
    rejected: int
    """Questions that were written and left out, since their answers were not found again."""
    info: Info
    """Model, seed and timings."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[QuestionAnswer]:
        return iter(self.pairs)

    @overload
    def __getitem__(self, index: int) -> QuestionAnswer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[QuestionAnswer]: ...
    def __getitem__(self, index: int | slice) -> QuestionAnswer | Sequence[QuestionAnswer]:
        return self.pairs[index]


def read_answers(response: answer_pb2.AnswerQuestionResponse) -> Answers:
    """Reads the wire's form."""
    source = response.source
    return Answers(
        answers=tuple(
            Answer(
                answer.text,
                answer.score,
                _evidence(answer.evidence) if answer.HasField("evidence") else None,
                answer.sample,
            )
            for answer in response.answers
        ),
        answerable=response.answerable,
        is_answerable=response.is_answerable,
        source=Source(source.title, tuple(source.aliases), source.text, source.corpus) if source.text else None,
        nearest=tuple(response.nearest),
        question_read=response.question_read,
        info=read_info(response.info),
    )


def read_questions(response: answer_pb2.GenerateQuestionsResponse) -> Questions:
    """Reads the wire's form."""
    pairs = tuple(
        QuestionAnswer(pair.question, pair.answer, _evidence(pair.evidence), pair.kind, pair.score)
        for pair in response.pairs
    )
    return Questions(pairs, response.rejected, read_info(response.info))


def _evidence(evidence: answer_pb2.Evidence) -> Evidence:
    return Evidence(evidence.text, evidence.start, evidence.end)
