"""Decodes texts token by token, with copying: each text is a row, and rows of all calls share batches."""

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
from muserve_server.tasks.answer.span_reader import Reading, filled_length
from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, TextCodec, Written
from muserve_server.tasks.kind import Call

__all__ = ["Draft", "Draw", "TextDecoder"]

_CHOICE_STREAM = noise.FIRST_FREE_STREAM
_QUESTION, _PASSAGE = 0, 1
_MAX_DRAFTS = 16
"""Texts of one call that are decoded at a time: each holds its encoder states, up to three eighths of a MiB."""
_MAX_CALLS = 64
"""Calls that decode at a time; others wait in turn."""


@dataclass(frozen=True)
class Draw:
    """The random numbers that one text is sampled with."""

    noise: NDArray[np.float32]
    """Latent vector, [latent]."""
    uniform: NDArray[np.float64] | None
    """A number in [0, 1) for each step, [step]; None for greedy decoding."""


@dataclass
class Draft:
    """A text while it is decoded."""

    reading: Reading
    """The question and passage that it is decoded from."""
    draw: Draw
    """Its random numbers."""
    written: list[Written] = field(default_factory=list)
    """The tokens so far."""
    log_prob: float = 0.0
    """Sum of the log-probabilities of the tokens."""
    steps: int = 0
    """Number of decoded tokens, including the end of sequence."""
    is_done: bool = False
    """Whether the end of sequence was reached."""

    @property
    def score(self) -> float:
        """Geometric mean of the probabilities of the tokens."""
        return math.exp(self.log_prob / self.steps) if self.steps else 0.0

    def text(self, codec: TextCodec) -> str:
        """Returns the decoded text."""
        return codec.decode(self.written, [self.reading.question, self.reading.tokens])


class TextDecoder:
    """Decodes texts to their end of sequence. Lives on one event loop."""

    def __init__(self, settings: manifest_pb2.AnswerSettings) -> None:
        self._settings = settings
        self._max_steps = max(settings.answer_tokens, settings.question_tokens)
        self._gate = asyncio.Semaphore(_MAX_CALLS)

    def greedy(self) -> Draw:
        """Returns the draw of greedy decoding: a latent vector of zeros, always the most likely token."""
        return Draw(np.zeros(self._settings.latent_size, np.float32), None)

    def draw(self, seed: int, first_sample: int, count: int) -> list[Draw]:
        """Draws the random numbers of consecutive samples of a seed; sample 0 is decoded greedily.

        Args:
            seed: 0 up to 2^64 - 1.
            first_sample: Index of the first sample.
            count: Number of samples.
        """
        vectors = noise.standard_normal(seed, first_sample, count, self._settings.latent_size)
        uniforms = noise.uniform(seed, first_sample, count, self._max_steps, stream=_CHOICE_STREAM)
        return [
            Draw(vector, uniform) if first_sample + index else self.greedy()
            for index, (vector, uniform) in enumerate(zip(vectors, uniforms, strict=True))
        ]

    async def decode(self, drafts: Sequence[Draft], call: Call, *, max_tokens: int) -> None:
        """Decodes drafts in place, some at a time.

        Args:
            drafts: New drafts.
            call: Runs the decoder graph.
            max_tokens: Maximum tokens of a text.

        Raises:
            MuserveError: The deadline has passed, or the graph failed.
        """
        for first in range(0, len(drafts), _MAX_DRAFTS):
            async with self._gate:
                await self._decode_some(drafts[first : first + _MAX_DRAFTS], call, max_tokens)

    async def _decode_some(self, drafts: Sequence[Draft], call: Call, max_tokens: int) -> None:
        states = await call.offload(lambda: [_DecoderState(draft, self._settings, max_tokens) for draft in drafts])
        decoding = [asyncio.ensure_future(call.iterate(self._settings.writer, each.rows, each.step)) for each in states]
        try:
            await asyncio.gather(*decoding)
        finally:
            for one in decoding:
                one.cancel()


class _DecoderState:
    """The decoder's inputs for one draft, from step to step."""

    def __init__(self, draft: Draft, settings: manifest_pb2.AnswerSettings, max_tokens: int) -> None:
        self._draft = draft
        self._max_tokens = max_tokens
        self._temperature = settings.temperature
        reading = draft.reading
        length = filled_length(len(reading.source), settings.source_step)
        self.rows: Rows = {
            "token": np.array([BEGIN], np.int64),
            "place": np.array([NOTHING], np.int64),
            "noise": draft.draw.noise[None],
            "memory": _pad(reading.memory, length)[None],
            "hidden": reading.hidden[None],
            "cell": reading.cell[None],
            "source": _pad(reading.source, length)[None],
        }
        """Inputs of the next step: one row."""

    def step(self, outputs: Rows) -> Rows | None:
        """Adds the token of a step and returns the inputs of the next one; None at the end."""
        _add_token(self._draft, outputs, self._temperature)
        if self._draft.is_done or self._draft.steps == self._max_tokens:
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


def _pad(values: NDArray[Any], length: int) -> NDArray[Any]:
    """Pads the tokens of a source to a length."""
    filled = np.full((length, *values.shape[1:]), PADDING, values.dtype)
    filled[: len(values)] = values
    return filled


def _place(draft: Draft, written: Written) -> int:
    """Returns the index of the source token that was copied; question and passage follow each other."""
    if written.source == NOTHING:
        return NOTHING
    return written.place + (written.source == _PASSAGE) * draft.reading.passage_start


def _add_token(draft: Draft, outputs: Rows, temperature: float) -> None:
    """Chooses a token by its log-probability, greedily or by sampling, and adds it to the draft."""
    tokens, places, log_probs = (outputs[name][0] for name in ("tokens", "places", "logarithms"))
    if not np.isfinite(log_probs).all():
        raise ValueError("the writer returned NaN or infinity")
    allowed = log_probs
    if (not draft.steps or _is_in_a_word(draft)) and (is_text := tokens != END).any():
        allowed = np.where(is_text, allowed, -np.inf)  # no text is empty, or ends in the middle of "1.40"
    chosen = int(allowed.argmax())
    if draft.draw.uniform is not None:
        chosen = _sample(allowed, float(draft.draw.uniform[draft.steps]), temperature)
    draft.log_prob += min(0.0, float(log_probs[chosen]))
    draft.steps += 1
    draft.is_done = int(tokens[chosen]) == END
    draft.written.append(_written(draft, int(tokens[chosen]), int(places[chosen])))


def _is_in_a_word(draft: Draft) -> bool:
    """Whether the last token was copied from inside a word: the next token of its source continues it."""
    last = draft.written[-1]
    if last.source == NOTHING:
        return False
    tokens = (draft.reading.question, draft.reading.tokens)[last.source]
    if last.place + 1 >= len(tokens) or tokens.spaced[last.place + 1]:
        return False
    return tokens.text[tokens.places[last.place + 1][0]].isalnum()


def _sample(log_probs: NDArray[np.float32], uniform: float, temperature: float) -> int:
    """Samples an index with a temperature."""
    weights = np.exp((log_probs - log_probs.max()).astype(np.float64) / temperature)
    ends = np.cumsum(weights / weights.sum())
    return min(int(np.searchsorted(ends, uniform, side="right")), len(ends) - 1)


def _written(draft: Draft, token: int, place: int) -> Written:
    if place == NOTHING or token in (END, PADDING):
        return Written(token)
    offset = draft.reading.passage_start
    if place < offset:
        # The question's end of sequence has no text.
        return Written(token, _QUESTION, place) if place < len(draft.reading.question) else Written(token)
    return Written(token, _PASSAGE, place - offset)
