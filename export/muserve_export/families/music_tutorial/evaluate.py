"""Measures a bundle of chords as the music family measures its own: on the rolls of bars, beside real music."""

from __future__ import annotations

from pathlib import Path

from muserve_export.families.music import data as music_data
from muserve_export.families.music import evaluate as music_evaluate
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music_tutorial.data import ChordData
from muserve_export.measuring import Figures

__all__ = ["measure"]


def measure(folder: Path, config: MusicConfig, data: ChordData, part: str) -> Figures:  # noqa: ARG001
    """Measures a bundle; see the family's own `measure`.

    Args:
        folder: The bundle.
        config: What it was trained with.
        data: Its chords. What is written is measured beside whole bars of the same files and the same split.
        part: "validation" while choosing, "test" to report.
    """
    rolls = MusicConfig(data=config.data, split_seed=config.split_seed, min_tracks=config.min_tracks, bars=1)
    return music_evaluate.measure(folder, rolls, music_data.load_data(rolls), part)
