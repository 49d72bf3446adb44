"""Writes texts token by token: many rows in each step of the writer, each until its end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.rows import Rows
from muserve_server.tasks import noise
from muserve_server.tasks.answer.reading import Reading, filled_length
from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, TextCodec, Written
from muserve_server.tasks.kind import Call

__all__ = ["Draft", "Draw", "TextDecoder"]

_CHOICE_STREAM = noise.FIRST_FREE_STREAM
_QUESTION, _PASSAGE = 0, 1
_DRAFTS_AT_ONCE = 16
"""Texts of one call that are written at a time: each holds its passage's memory, up to three eighths of a MiB."""
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


class TextDecoder:
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

    async def write(self, drafts: Sequence[Draft], call: Call, *, maximum: int) -> None:
        """Fills drafts, some at a time.

        Args:
            drafts: To fill.
            call: Runs the writer.
            maximum: Maximum tokens of a text.

        Raises:
            MuserveError: The deadline has passed, or the graph failed.
        """
        for first in range(0, len(drafts), _DRAFTS_AT_ONCE):
            async with self._gate:
                await self._write_some(drafts[first : first + _DRAFTS_AT_ONCE], call, maximum)

    async def _write_some(self, drafts: Sequence[Draft], call: Call, maximum: int) -> None:
        pens = await call.offload(lambda: [_Pen(draft, self._settings, maximum) for draft in drafts])
        writing = [asyncio.ensure_future(call.iterate(self._settings.writer, pen.rows, pen.go_on)) for pen in pens]
        try:
            await asyncio.gather(*writing)
        finally:
            for one in writing:
                one.cancel()


class _Pen:
    """What writes a draft, a token at a time."""

    def __init__(self, draft: Draft, settings: manifest_pb2.AnswerSettings, maximum: int) -> None:
        self._draft = draft
        self._most = maximum
        self._temperature = settings.temperature
        reading = draft.reading
        length = filled_length(len(reading.source), settings.source_step)
        self.rows: Rows = {
            "token": np.array([BEGIN], np.int64),
            "place": np.array([NOTHING], np.int64),
            "noise": draft.draw.noise[None],
            "memory": _filled(reading.memory, length)[None],
            "hidden": reading.hidden[None],
            "cell": reading.cell[None],
            "source": _filled(reading.source, length)[None],
        }
        """Of the next step: one."""

    def go_on(self, outputs: Rows) -> Rows | None:
        """Takes a step's outcome and makes the next one's row; None at the end."""
        _take(self._draft, outputs, self._temperature)
        if self._draft.is_done or self._draft.steps == self._most:
            return None
        last = self._draft.written[-1]
        self.rows = {
            **self.rows,
            "token": np.array([last.id], np.int64),
            "place": np.array([_place(self._draft, last)], np.int64),
            "hidden": outputs["next_hidden"],
            "cell": outputs["next_cell"],
        }
        return self.rows


def _filled(values: NDArray[Any], length: int) -> NDArray[Any]:
    """Adds padding behind the tokens of a source."""
    filled = np.full((length, *values.shape[1:]), PADDING, values.dtype)
    filled[: len(values)] = values
    return filled


def _place(draft: Draft, written: Written) -> int:
    """Which source token that is, question and passage one behind the other."""
    if written.source == NOTHING:
        return NOTHING
    return written.place + (written.source == _PASSAGE) * draft.reading.passage_start


def _take(draft: Draft, outputs: Rows, temperature: float) -> None:
    """Chooses a token."""
    tokens, places, logarithms = (outputs[name][0] for name in ("tokens", "places", "logarithms"))
    if not np.isfinite(logarithms).all():
        raise ValueError("the writer returned NaN or infinity")
    own = logarithms
    if (not draft.steps or _is_in_a_word(draft)) and (says := tokens != END).any():
        own = np.where(says, own, -np.inf)  # no text is empty, or ends in the middle of "1.40"
    chosen = int(own.argmax())
    if draft.draw.uniform is not None:
        chosen = _draw(own, float(draft.draw.uniform[draft.steps]), temperature)
    draft.logarithm += min(0.0, float(logarithms[chosen]))
    draft.steps += 1
    draft.is_done = int(tokens[chosen]) == END
    draft.written.append(_written(draft, int(tokens[chosen]), int(places[chosen])))


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
    offset = draft.reading.passage_start
    if place < offset:
        # Behind the question stands its end, which has no text.
        return Written(token, _QUESTION, place) if place < len(draft.reading.question) else Written(token)
    return Written(token, _PASSAGE, place - offset)
