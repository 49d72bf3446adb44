"""Evaluates a music bundle: files from the code that serves it, beside held-out real music.

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
from muserve_export.errors import DataError
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import TRACK_SETTINGS, MusicData, make_grid
from muserve_export.families.music.measure.accompaniment import Accompaniments, accompany
from muserve_export.families.music.measure.reference import Reference, load_reference
from muserve_export.families.music.measure.served import DataView, Generated, MusicReader, generate
from muserve_export.families.music.measure.table import make_figures
from muserve_export.measuring import Figures
from muserve_server.model import LocalModel

__all__ = ["measure"]


def measure(folder: Path, config: MusicConfig, data: MusicData, part: str) -> Figures:
    """Evaluates a bundle by the music that it generates.

    Args:
        folder: The bundle.
        config: What it was trained with, on the grid that its manifest states.
        data: Music to measure against.
        part: "validation" while choosing, "test" to report.

    Returns:
        The headlines; as details the figures of each style and track.

    Raises:
        DataError: Nothing can be measured.
        BundleError: The bundle cannot be opened.
    """
    settings = read_bundle(folder).manifest.music
    roles = [track.role for track in settings.tracks]
    tracks = [index for index, track in enumerate(TRACK_SETTINGS) if track.role in roles]
    if not tracks:
        raise DataError(f"{folder} has the tracks {', '.join(roles)}, none of which the data has")
    styles = [style.name for style in settings.styles]
    if styles and set(styles) != set(data.styles):
        raise DataError(
            f"{folder} knows the styles {', '.join(styles)}, the data has {', '.join(data.styles)}; "
            "they must be the same"
        )
    seen = DataView(data, tracks, styled=bool(styles))
    reader = MusicReader(make_grid(config), [TRACK_SETTINGS[index] for index in tracks])
    reference = load_reference(seen, part, layout=reader.layout)
    generated, accompaniments = asyncio.run(_ask(folder, reader, seen, reference))
    return make_figures(generated, accompaniments, seen, reference, hears_tempo=bool(settings.tempo_input))


async def _ask(
    folder: Path, reader: MusicReader, seen: DataView, reference: Reference
) -> tuple[Generated, Accompaniments | None]:
    async with await LocalModel.open(folder) as model:
        generated = await generate(model, reader, seen)
        can = model.bundle.manifest.music.accompanist and len(reader.tracks) > 1
        return generated, await accompany(model, reader, reference) if can else None
