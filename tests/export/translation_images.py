"""Made images of two seasons, as a user's own folders hold them: two domains of one kind of scene, no pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SKY = (110, 160, 220)
SUMMER, WINTER = (60, 140, 50), (235, 240, 250)


def write_seasons(folder: Path, *, training: int = 7, test: int = 3) -> Path:
    """Writes trainA, trainB, testA and testB: hills under a sky, green or white. Test images of one name are pairs."""
    for part, count in (("train", training), ("test", test)):
        for side, ground in (("A", SUMMER), ("B", WINTER)):
            (folder / f"{part}{side}").mkdir(parents=True)
            for index in range(count):
                # In training the two sides show other places; a pair shows one.
                random = np.random.default_rng([index, part == "train" and side == "B"])
                picture = _draw_scene(random, ground)
                path = folder / f"{part}{side}" / f"{index:02d}"
                kind = (".png", ".jpg", ".webp")[index % 3]
                Image.fromarray(picture).save(path.with_suffix(kind))
    return folder


def _draw_scene(random: np.random.Generator, ground: tuple[int, int, int]) -> np.ndarray:
    height, width = int(random.integers(50, 80)), int(random.integers(50, 90))
    rows, columns = np.mgrid[:height, :width]
    hills = height * (0.4 + 0.1 * np.sin(columns / random.uniform(6, 12)))
    picture = np.where((rows > hills)[..., None], ground, SKY)
    return (picture + random.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)
