"""Answers MakePalettes: checks the request, draws the noise, runs the graph, writes hex codes and swatches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle, ManifestError
from muserve_palette.colours import COLOURS, swatch, to_hex
from muserve_palette.kind import PaletteLimits
from muserve_palette.v1 import palette_pb2
from muserve_palette.words import similarity, word_vector
from muserve_server.tasks import Call, Handler, noise
from muserve_server.tasks.graphs import FLOAT32, check_tensors, find_graph
from muserve_server.tasks.media.png import encode_png
from muserve_server.tasks.media.provenance import provenance
from muserve_server.tasks.requests import Violations, seed_of

__all__ = ["PaletteTask"]


class PaletteTask:
    """The palette task of one bundle."""

    def __init__(self, bundle: Bundle, limits: PaletteLimits) -> None:
        """Checks that the manifest's settings fit its graph.

        Raises:
            ManifestError: They do not.
        """
        settings = bundle.settings
        if not isinstance(settings, palette_pb2.PaletteSettings) or not settings.moods:
            raise ManifestError(f"{bundle}: its settings must be palette.v1.PaletteSettings with moods")
        graph = find_graph(bundle, "palette.graph", settings.graph)
        inputs = {"latent": (FLOAT32, [-1, settings.latent_size]), "word": (FLOAT32, [-1, settings.word_size])}
        check_tensors(bundle, graph, "inputs", inputs)
        check_tensors(bundle, graph, "outputs", {"palette": (FLOAT32, [-1, COLOURS, 3])})
        self._bundle, self._limits, self._settings = bundle, limits, settings

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the one handler."""
        return {"MakePalettes": self._make}

    async def _make(self, request: palette_pb2.MakePalettesRequest, call: Call) -> palette_pb2.MakePalettesResponse:
        settings, violations = self._settings, Violations()
        mood = request.mood.strip()
        if not 1 <= len(mood) <= self._limits.max_mood_letters or not mood.isalpha():
            allowed = f"a word of 1 up to {self._limits.max_mood_letters} letters"
            violations.refuse("mood", f"is {request.mood[:60]!r}; allowed: {allowed}, such as {settings.moods[0]!r}")
        count = violations.count(request, default=1, maximum=self._limits.max_samples_per_call)
        first_sample = violations.first_sample(request, count)
        violations.check()
        seed = seed_of(request)
        word = np.tile(word_vector(mood, settings.word_size), (count, 1))
        latent = noise.standard_normal(seed, first_sample, count, settings.latent_size)
        outputs = await call.infer(settings.graph, {"latent": latent, "word": word})
        response = await call.offload(self._write, outputs["palette"], mood, seed, first_sample)
        response.info.seed = seed
        return response

    def _write(
        self, palettes: NDArray[np.float32], mood: str, seed: int, first_sample: int
    ) -> palette_pb2.MakePalettesResponse:
        """Writes the palettes, [palette, colour, 3]. Runs off the event loop."""
        if not np.isfinite(palettes).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} returned NaN or infinity")
        near = {known: similarity(mood, known, self._settings.word_size) for known in self._settings.moods}
        nearest = max(near, key=near.__getitem__)
        response = palette_pb2.MakePalettesResponse(nearest_mood=nearest, similarity=near[nearest])
        for sample, palette in enumerate(palettes, first_sample):
            colours = to_hex(palette[np.argsort(palette[:, 0], kind="stable")])
            metadata = provenance(self._bundle, seed=seed, sample=sample, mood=mood, colours=colours)
            response.palettes.add(colours=colours, sample=sample, swatch_png=encode_png(swatch(colours), metadata))
        return response
