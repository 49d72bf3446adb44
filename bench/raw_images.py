"""Images without a server: onnxruntime, the task's noise, PNG encoding and facts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.raw import open_session
from muserve import __version__
from muserve.bundle import Bundle, read_bundle
from muserve_server.tasks import noise
from muserve_server.tasks.media.png import encode_png, to_pixels

__all__ = ["TUTORIAL", "RawImages", "tutorial_bundle"]

TUTORIAL = 1
"""The version of digits that is measured."""


class RawImages:
    """The generator of the tutorial's bundle; its PNGs have the bytes of the served ones."""

    def __init__(self, models: Path, run_threads: int = 1) -> None:
        self._bundle = tutorial_bundle(models)
        self._settings = self._bundle.manifest.image
        self._session = open_session(self._bundle, self._settings.graph, run_threads)

    def draw(self, seeds: Sequence[int]) -> list[bytes]:
        """Draws images; see `Raw.draw`."""
        settings = self._settings
        latents = [noise.standard_normal(seed, 0, 1, settings.latent_size) for seed in seeds]
        latent = latents[0] if len(latents) == 1 else np.concatenate(latents)
        (images,) = self._session.run([settings.image_output], {settings.latent_input: latent})
        if not np.isfinite(images).all():
            raise ValueError("the graph gave values that are no numbers")
        pixels = to_pixels(images, settings.black, settings.white)
        return [encode_png(image, self._facts(seed)) for image, seed in zip(pixels, seeds, strict=True)]

    def _facts(self, seed: int) -> dict[str, Any]:
        manifest = self._bundle.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "digest": self._bundle.digest,
            "seed": seed,
            "sample": 0,
            "truncation": 1.0,
            "software": f"Muserve {__version__}",
        }


def tutorial_bundle(models: Path) -> Bundle:
    """Returns the tutorial GAN: small enough that serving it costs more than running it."""
    return read_bundle(models / "digits" / str(TUTORIAL))
