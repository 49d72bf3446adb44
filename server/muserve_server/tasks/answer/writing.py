"""Writes texts token by token: many rows in each step of the writer, each until its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks import noise
from muserve_server.tasks.answer.reading import Reading
from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, TextCodec, Written
from muserve_server.tasks.base import Call, Rows

__all__ = ["Draft", "Draw", "TextWriter"]

_CHOICE_STREAM = noise.FIRST_FREE_STREAM
_QUESTION, _PASSAGE = 0, 1
_DRAFTS_AT_ONCE = 16
"""Texts of one call that are written at a time: each holds its passage's memory, a quarter of a MiB, several times."""
_WRITTEN_AT_ONCE = 64
"""Calls that write at a time; others wait in turn."""


@dataclass(frozen=True)
class Draw:
    """By what chance a text is written."""

    noise: NDArray[np.float32]
    """What one text differs from another by, [latent]."""
    uniform: NDArray[np.float64] | None
    """A number from 0 up to 1 for each step, [step]; None takes the likeliest token each time."""


@dataclass
class Draft:
    """A text as it is written."""

    reading: Reading
    """What it is about."""
    draw: Draw
    """By what chance."""
    written: list[Written] = field(default_factory=list)
    """Its tokens so far."""
    logarithm: float = 0.0
    """Of the probability of its tokens."""
    steps: int = 0
    """How many there were, the end too."""
    is_done: bool = False
    """Whether its end was written."""

    @property
    def score(self) -> float:
        """Probability of its tokens, as their geometric mean."""
        return math.exp(self.logarithm / self.steps) if self.steps else 0.0

    def say(self, codec: TextCodec) -> str:
        """Its text."""
        return codec.say(self.written, [self.reading.question, self.reading.tokens])


class TextWriter:
    """Writes texts to their ends. Lives on one event loop."""

    def __init__(self, settings: manifest_pb2.AnswerSettings) -> None:
        self._settings = settings
        self._most_steps = max(settings.answer_tokens, settings.question_tokens)
        self._gate = asyncio.Semaphore(_WRITTEN_AT_ONCE)

    def likeliest(self) -> Draw:
        """No chance at all."""
        return Draw(np.zeros(self._settings.latent_size, np.float32), None)

    def draw(self, seed: int, first_sample: int, count: int) -> list[Draw]:
        """Draws the chances of some samples of a seed; sample 0 is the likeliest text.

        Args:
            seed: 0 up to 2^64 - 1.
            first_sample: Index of the first.
            count: How many.
        """
        vectors = noise.standard_normal(seed, first_sample, count, self._settings.latent_size)
        chances = noise.uniform(seed, first_sample, count, self._most_steps, stream=_CHOICE_STREAM)
        return [
            Draw(vector, chance) if first_sample + index else self.likeliest()
            for index, (vector, chance) in enumerate(zip(vectors, chances, strict=True))
        ]

    async def write(self, drafts: Sequence[Draft], call: Call, *, most: int) -> None:
        """Fills drafts, some at a time.

        Args:
            drafts: To fill.
            call: Runs the writer.
            most: Most tokens of a text.

        Raises:
            MuserveError: The deadline has passed, or the graph failed.
        """
        for first in range(0, len(drafts), _DRAFTS_AT_ONCE):
            async with self._gate:
                await self._write_some(list(drafts[first : first + _DRAFTS_AT_ONCE]), call, most)

    async def _write_some(self, drafts: list[Draft], call: Call, most: int) -> None:
        # A hop to a thread is longer than it takes to copy one row.
        hop = call.run_soon if len(drafts) == 1 else call.offload
        rows = await hop(_begin, drafts)
        for step in range(most):
            outputs = await call.infer(self._settings.writer, rows)
            await hop(_take, drafts, outputs, step, self._settings.temperature)
            stays = np.array([not draft.is_done for draft in drafts])
            drafts = [draft for draft in drafts if not draft.is_done]
            if not drafts:
                return
            rows = await hop(_go_on, drafts, rows, outputs, stays)


def _begin(drafts: Sequence[Draft]) -> dict[str, NDArray[Any]]:
    readings = [draft.reading for draft in drafts]
    return {
        "token": np.full(len(drafts), BEGIN, np.int64),
        "place": np.full(len(drafts), NOTHING, np.int64),
        "noise": np.stack([draft.draw.noise for draft in drafts]),
        **{name: np.stack([reading.tensors[name] for reading in readings]) for name in ("memory", "hidden", "cell")},
        "source": np.stack([reading.source for reading in readings]),
    }


def _go_on(
    drafts: Sequence[Draft], rows: Mapping[str, NDArray[Any]], outputs: Rows, stays: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Makes the next step's rows, of the texts that have not ended."""
    # What does not change is only copied when a row has left.
    constant = {name: rows[name] if stays.all() else rows[name][stays] for name in ("noise", "memory", "source")}
    return {
        "token": np.array([draft.written[-1].id for draft in drafts], np.int64),
        "place": np.array([_place(draft, draft.written[-1]) for draft in drafts], np.int64),
        **constant,
        **{name: outputs[f"next_{name}"][stays] for name in ("hidden", "cell")},
    }


def _place(draft: Draft, written: Written) -> int:
    """Which source token that is, question and passage one behind the other."""
    if written.source == NOTHING:
        return NOTHING
    return written.place + (written.source == _PASSAGE) * _question_length(draft)


def _question_length(draft: Draft) -> int:
    return len(draft.reading.source) - draft.reading.passage_length


def _take(drafts: Sequence[Draft], outputs: Rows, step: int, temperature: float) -> None:
    """Chooses a token of each row."""
    logarithms = outputs["logarithms"]
    if not np.isfinite(logarithms).all():
        raise ValueError("the writer gave values that are no numbers")
    for row, draft in enumerate(drafts):
        own = logarithms[row]
        if (not step or _is_in_a_word(draft)) and (says := outputs["tokens"][row] != END).any():
            own = np.where(says, own, -np.inf)  # no text is empty, or ends in the middle of "1.40"
        chosen = int(own.argmax())
        if draft.draw.uniform is not None:
            chosen = _draw(own, float(draft.draw.uniform[step]), temperature)
        token, place = int(outputs["tokens"][row, chosen]), int(outputs["places"][row, chosen])
        draft.logarithm += min(0.0, float(logarithms[row, chosen]))
        draft.steps += 1
        draft.is_done = token == END
        draft.written.append(_written(draft, token, place))


def _is_in_a_word(draft: Draft) -> bool:
    """Whether what was copied last goes on at once, with a letter or a figure, where it stands."""
    last = draft.written[-1]
    if last.source == NOTHING:
        return False
    tokens = (draft.reading.question, draft.reading.tokens)[last.source]
    if last.place + 1 >= len(tokens) or tokens.spaced[last.place + 1]:
        return False
    return tokens.text[tokens.places[last.place + 1][0]].isalnum()


def _draw(logarithms: NDArray[np.float32], chance: float, temperature: float) -> int:
    weights = np.exp((logarithms - logarithms.max()).astype(np.float64) / temperature)
    ends = np.cumsum(weights / weights.sum())
    return min(int(np.searchsorted(ends, chance, side="right")), len(ends) - 1)


def _written(draft: Draft, token: int, place: int) -> Written:
    if place == NOTHING or token in (END, PADDING):
        return Written(token)
    offset = _question_length(draft)
    if place < offset:
        # Behind the question stand its end and padding, which have no text.
        return Written(token, _QUESTION, place) if place < len(draft.reading.question) else Written(token)
    return Written(token, _PASSAGE, place - offset)
