"""Answers to questions, and questions with answers."""

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
    """A passage that supports an answer."""

    text: str
    """The passage itself."""
    start: int
    """Index of its first character, from 0: in the given context, or else in `Source.text`."""
    end: int
    """Index after its last character."""


@dataclass(frozen=True)
class Answer:
    """One answer."""

    text: str
    """A sentence."""
    score: float
    """Geometric mean of its tokens' probabilities, 0 to 1."""
    evidence: Evidence | None
    """The passage that supports it; None if there is none."""
    sample: int
    """Index in the seed's series."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Source:
    """The entry of the model's corpus that an answer comes from."""

    title: str
    """Its name."""
    aliases: tuple[str, ...]
    """Its other names."""
    text: str
    """The passage that was read."""
    corpus: str
    """Corpus of the model that it is from; licences differ, see the model's manifest."""


@dataclass(frozen=True)
class Answers(Sequence[Answer]):
    """The answers to a question: a sequence, empty if it cannot be answered."""

    answers: tuple[Answer, ...]
    """The most likely one first, then sampled ones."""
    answerable: float
    """Probability that the passages read answer the question."""
    is_answerable: bool
    """Whether that reaches the model's threshold."""
    source: Source | None
    """The entry read; None for a given context, or if nothing was found."""
    nearest: tuple[str, ...]
    """Entries nearest to the question; useful if there is no answer."""
    question_read: str
    """The question as read, with misspellings corrected."""
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
    """A question with its answer, which answering the question from the same passage confirmed."""

    question: str
    """The question."""
    answer: str
    """A sentence."""
    evidence: Evidence
    """The passage of the context that supports the answer."""
    kind: str
    """Such as "who"; the model's manifest lists them."""
    score: float
    """Geometric mean of the question's tokens' probabilities, 0 to 1."""


@dataclass(frozen=True)
class Questions(Sequence[QuestionAnswer]):
    """Questions that a text answers, in the order of the text: a sequence."""

    pairs: tuple[QuestionAnswer, ...]
    """Without duplicates."""
    rejected: int
    """Number of generated questions that were dropped because answering them did not confirm their answers."""
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
    """Reads the response."""
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
    """Reads the response."""
    pairs = tuple(
        QuestionAnswer(pair.question, pair.answer, _evidence(pair.evidence), pair.kind, pair.score)
        for pair in response.pairs
    )
    return Questions(pairs, response.rejected, read_info(response.info))


def _evidence(evidence: answer_pb2.Evidence) -> Evidence:
    return Evidence(evidence.text, evidence.start, evidence.end)
