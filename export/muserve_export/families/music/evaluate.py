"""Measures a music bundle: files made by the code that serves them, read back, beside real music not learned from.

A model writes 256 pieces of its own length a style, at tempi of the training data (`measure.served`). Figures, all of
which weigh every style the same, with 95 % intervals by bootstrap over pieces:
- distance of MuseGAN's figures to held-out music, over all cells of style and track (`metrics`, `distances`), in the
  corrected and in the paper-compatible convention; EB in points a track.
- tonal distance between tracks, against shuffled tracks; a judge of joint and shuffled tracks (`judges`).
- a judge of styles; tempo as written; density against tempo, as in the training data.
- accompaniments of held-out tracks, against random ones (`measure.accompaniment`).
- copied bars and near copies (`measure.copies`); overlap of features, groove and scale consistency (`measure.overlap`).

Beside them stand real music (training against held-out, held-out, or as many training segments as the model wrote
pieces) and held-out music with shuffled tracks. What a model has not is left out: styles, an accompanist, more than one
track.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from muserve.bundle import read_bundle
from muserve.configuration import build
from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import TRACK_SETTINGS, MusicData, load_data, make_grid
from muserve_export.families.music.measure.accompaniment import Accompaniments, accompany
from muserve_export.families.music.measure.reference import Reference, load_reference
from muserve_export.families.music.measure.served import Desk, Generated, SomeData, generate
from muserve_export.families.music.measure.table import MusicFigures, cells_table, make_figures
from muserve_server.model import LocalModel

__all__ = ["evaluate_music"]


def evaluate_music(
    folder: Path, *, data: str | None = None, part: str = "test", details: Path | None = None
) -> list[manifest_pb2.Metric]:
    """Measures a bundle on what it writes.

    Args:
        folder: The bundle.
        data: Data to measure against, as `MusicConfig.data`; None takes what the bundle was trained on.
        part: "validation" while choosing, "test" to report.
        details: Where to write the figures of each style and track, as CSV; None writes none.

    Raises:
        DataError: Nothing can be measured.
        BundleError: The bundle cannot be opened.
    """
    figures = _measure(folder, data=data, part=part)
    if details:
        details.write_text(cells_table(figures), encoding="utf-8")
    return figures.metrics


def _measure(folder: Path, *, data: str | None, part: str) -> MusicFigures:
    music, config = _load_data(folder, data)
    settings = read_bundle(folder).manifest.music
    roles = [track.role for track in settings.tracks]
    tracks = [index for index, track in enumerate(TRACK_SETTINGS) if track.role in roles]
    if not tracks:
        raise DataError(f"{folder} has the tracks {', '.join(roles)}, of which the data knows none")
    styles = [style.name for style in settings.styles]
    if styles and set(styles) != set(music.styles):
        raise DataError(
            f"{folder} knows the styles {', '.join(styles)}, the data has {', '.join(music.styles)}; "
            "they must be the same"
        )
    seen = SomeData(music, tracks, styled=bool(styles))
    desk = Desk(make_grid(config), [TRACK_SETTINGS[index] for index in tracks])
    reference = load_reference(seen, part, layout=desk.layout)
    generated, accompaniments = asyncio.run(_ask(folder, desk, seen, reference))
    return make_figures(generated, accompaniments, seen, reference, hears_tempo=bool(settings.tempo_input))


def _load_data(folder: Path, data: str | None) -> tuple[MusicData, MusicConfig]:
    """Loads the data to measure against, on the grid of the bundle."""
    manifest = read_bundle(folder).manifest
    training, settings = manifest.training, manifest.music
    if data is None and (training.get("data") or "data_sha256" not in training):
        raise DataError(f"{folder} was not trained on the bundled data; name its data: --data {training.get('data')}")
    values: dict[str, object] = {"data": data or "", "bars": settings.bars}
    if settings.steps_per_bar // settings.beats_per_bar >= 1:
        values |= {
            "steps_per_beat": settings.steps_per_bar // settings.beats_per_bar,
            "lowest_pitch": settings.lowest_pitch,
            "pitches": settings.pitches,
        }
    known = {name: training[name] for name in ("split_seed", "min_tracks") if name in training}
    config = build(MusicConfig, values, known)
    music = load_data(config)
    # A model of chords knows the digest of its chords, not of these rolls.
    if data is None and settings.styles and music.sha256 != training["data_sha256"]:
        raise DataError(f"{folder} was trained on other data or another split; its held-out music cannot be known")
    return music, config


async def _ask(
    folder: Path, desk: Desk, seen: SomeData, reference: Reference
) -> tuple[Generated, Accompaniments | None]:
    async with await LocalModel.open(folder) as model:
        generated = await generate(model, desk, seen)
        can = model.bundle.manifest.music.accompanist and len(desk.tracks) > 1
        return generated, await accompany(model, desk, reference) if can else None
