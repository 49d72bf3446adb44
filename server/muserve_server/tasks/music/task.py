"""Answers GenerateMusic and Accompany: checks the request, runs the graph phrase by phrase, writes MIDI."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.v1 import manifest_pb2, music_pb2
from muserve_server.rows import Rows
from muserve_server.tasks import noise
from muserve_server.tasks.kind import Call, Handler
from muserve_server.tasks.music.limits import MusicLimits
from muserve_server.tasks.music.pieces import write_piece
from muserve_server.tasks.music.planning import Plan, Planner
from muserve_server.tasks.music.rolls import to_flags
from muserve_server.tasks.music.validate import GIVEN_HOLD, GIVEN_ONSET, GIVEN_TRACKS, check_settings

__all__ = ["MusicTask"]

_CELLS_PER_RUN = 2**23
"""Numbers of one output that are held at a time."""

Flags = NDArray[np.bool_]
Response = music_pb2.GenerateMusicResponse | music_pb2.AccompanyResponse


class MusicTask:
    """The music task of one bundle."""

    def __init__(self, bundle: Bundle, limits: MusicLimits) -> None:
        """Checks that the manifest's music settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._settings = bundle.manifest.music
        check_settings(bundle, limits)
        self._planner = Planner(bundle, limits)
        # Every run must fit into the queue, as calls of that many samples do.
        self._rows_per_run = max(1, min(limits.max_samples_per_call, _CELLS_PER_RUN // _cells(self._settings)))

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the handlers of both methods; see `Task`."""
        return {"GenerateMusic": self._generate, "Accompany": self._accompany}

    async def _generate(self, request: music_pb2.GenerateMusicRequest, call: Call) -> Response:
        return await self._write(self._planner.generate(request), music_pb2.GenerateMusicResponse(), call)

    async def _accompany(self, request: music_pb2.AccompanyRequest, call: Call) -> Response:
        plan = await call.offload(self._planner.accompany, request)
        return await self._write(plan, self._heard(plan), call)

    async def _write(self, plan: Plan, response: Response, call: Call) -> Response:
        """Runs the graph over the phrases of all pieces, some at a time, and writes each piece that is complete."""
        rows = plan.count * plan.phrases
        waiting: list[tuple[Flags, Flags]] = []
        for first in range(0, rows, self._rows_per_run):
            last = min(first + self._rows_per_run, rows)
            outputs = await call.infer(plan.graph, await call.offload(self._rows, plan, first, last))
            waiting = await call.offload(self._encode, plan, outputs, waiting, response)
        response.info.seed = plan.seed
        return response

    def _encode(
        self, plan: Plan, outputs: Rows, waiting: list[tuple[Flags, Flags]], response: Response
    ) -> list[tuple[Flags, Flags]]:
        """Adds the pieces that are complete with these outputs; returns what there is of the next."""
        settings = self._settings
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                raise ValueError(f"graph {plan.graph!r} of {self._bundle} returned NaN or infinity in {name!r}")
        hold = outputs[settings.hold_output] if settings.hold_output else None
        waiting = [*waiting, to_flags(outputs[settings.onset_output], hold, settings)]
        if sum(len(begins) for begins, _ in waiting) < plan.phrases:
            return waiting
        begins, sounding = (np.concatenate(rows) for rows in zip(*waiting, strict=True))  # [row, bar, track, …]
        complete = len(begins) // plan.phrases
        for position in range(complete):
            rows = slice(position * plan.phrases, (position + 1) * plan.phrases)
            piece = (flags[rows].reshape(-1, *flags.shape[2:]) for flags in (begins, sounding))
            response.pieces.append(write_piece(self._bundle, plan, len(response.pieces), *piece))
        rest = slice(complete * plan.phrases, None)
        return [(begins[rest], sounding[rest])]

    def _rows(self, plan: Plan, first: int, last: int) -> dict[str, NDArray[Any]]:
        """Makes the graph's inputs for some rows. Rows are the phrases of the first piece, then of the next."""
        settings = self._settings
        sample, phrase = np.divmod(np.arange(first, last), plan.phrases)
        rows: dict[str, NDArray[Any]] = {}
        if settings.constant_latent_input:
            size, begin = settings.constant_latent_size, int(sample[0])
            constant = noise.standard_normal(plan.seed, plan.first_sample + begin, int(sample[-1]) - begin + 1, size)
            rows[settings.constant_latent_input] = constant[sample - begin]
        if settings.bar_latents_input:
            rows[settings.bar_latents_input] = self._bar_latents(plan, first, last)
        if settings.style_input and plan.styles is not None:
            rows[settings.style_input] = plan.styles[sample]
        if settings.tempo_input:
            rows[settings.tempo_input] = plan.heard_tempo_bpm[sample, phrase]
        if settings.density_input:
            rows[settings.density_input] = np.full(len(sample), plan.density, dtype=np.float32)
        if plan.given:
            rolls = plan.given.rolls
            rows[GIVEN_ONSET] = _phrases_of(rolls.onset, phrase, settings)
            rows[GIVEN_HOLD] = _phrases_of(rolls.hold, phrase, settings)
            heard = np.zeros(len(settings.tracks), dtype=np.float32)
            heard[[role for role in plan.given.roles if role is not None]] = 1.0
            rows[GIVEN_TRACKS] = np.tile(heard, (len(sample), 1))
        return rows

    def _bar_latents(self, plan: Plan, first: int, last: int) -> NDArray[np.float32]:
        """Draws the noise of the bars, [row, bar, size]: each phrase of a piece has its own stream."""
        bars, size, phrases = self._settings.bars, self._settings.bar_latent_size, plan.phrases
        latents = np.empty((last - first, bars * size), dtype=np.float32)
        for phrase in sorted({row % phrases for row in range(first, last)}):
            begin, end = -((phrase - first) // phrases), -((phrase - last) // phrases)  # samples with this phrase
            stream = noise.FIRST_FREE_STREAM + phrase
            rows = slice(begin * phrases + phrase - first, None, phrases)
            latents[rows] = noise.standard_normal(
                plan.seed, plan.first_sample + begin, end - begin, bars * size, stream=stream
            )
        return latents.reshape(-1, bars, size)

    def _heard(self, plan: Plan) -> music_pb2.AccompanyResponse:
        """Says how the caller's file was understood."""
        response = music_pb2.AccompanyResponse()
        if given := plan.given:
            for track, role in zip(given.song.tracks, given.roles, strict=True):
                response.roles.add(track=track.index, role="" if role is None else self._settings.tracks[role].role)
            fit = given.rolls.fit
            response.quantisation.notes = fit.notes
            response.quantisation.folded_notes = fit.folded_notes
            response.quantisation.mean_error_steps = fit.mean_error_steps
            response.quantisation.on_grid_share = fit.on_grid_share
            response.quantisation.bars = plan.bars
        return response


def _phrases_of(roll: Flags, phrase: NDArray[np.int64], settings: manifest_pb2.MusicSettings) -> NDArray[np.float32]:
    """Cuts a roll, [bar, track, step, pitch], into phrases: those of each row, with silence after its end."""
    bars = phrase[:, None] * settings.bars + np.arange(settings.bars)  # [row, bar]
    found: NDArray[np.float32] = roll[np.minimum(bars, len(roll) - 1)].astype(np.float32)
    found[bars >= len(roll)] = 0.0
    return found


def _cells(settings: manifest_pb2.MusicSettings) -> int:
    return math.prod((settings.bars, len(settings.tracks), settings.steps_per_bar, settings.pitches))
