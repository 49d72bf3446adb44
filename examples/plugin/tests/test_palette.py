"""What the package promises by itself: colours, words, data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from muserve_export.errors import DataError
from muserve_palette.colours import from_hex, swatch, to_hex
from muserve_palette.config import PaletteConfig
from muserve_palette.data import load_data
from muserve_palette.words import similarity, word_vector


def test_hex_codes_come_back_through_oklab() -> None:
    codes = ["#000000", "#ffffff", "#d1495b", "#00d1ff", "#14241a"]
    assert to_hex(from_hex(codes)) == codes
    np.testing.assert_allclose(from_hex(["#ffffff"]), [[1, 0, 0]], atol=1e-3)  # as the paper says
    assert to_hex(np.array([[0.7, 0.9, 0.9]], np.float32))[0].startswith("#ff")  # what no screen shows is clipped


def test_a_swatch_shows_the_colours_side_by_side() -> None:
    picture = swatch(["#102030", "#ffffff"])
    assert picture.shape == (40, 80, 3)
    assert picture[0, 0].tolist() == [16, 32, 48]
    assert picture[39, 79].tolist() == [255, 255, 255]


def test_words_that_are_spelt_alike_are_near() -> None:
    assert similarity("Calm", "calm", 256) == pytest.approx(1)
    assert similarity("calmness", "calm", 256) > 0.4 > similarity("angry", "calm", 256)
    assert np.linalg.norm(word_vector("stormy", 64)) == pytest.approx(1)


def test_each_mood_has_palettes_of_every_part() -> None:
    data = load_data(PaletteConfig())
    assert len(data.moods) == 23
    assert len(set(data.words)) == len(data.words) == 92
    for mood in data.moods:
        assert [len(mood.part(part)) for part in ("training", "validation", "test")] == [2, 1, 1]
        assert np.all(np.diff(mood.palettes[..., 0]) >= 0)  # from dark to light


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("", "has no palettes"),
        ("calm,#111111 #222222\n", "line 2: 2 colours; a palette has 5"),
        ("calm,#11 #22 #33 #44 #55\n", "line 2: .* is no mood with colours such as #2f4858"),
        ("calm,#111111 #222222 #333333 #444444 #555555\n", "'calm' has 1 palettes; each mood needs 4"),
    ],
)
def test_a_table_that_cannot_be_learnt_says_where(tmp_path: Path, rows: str, text: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text("mood,colours\n" + rows)
    with pytest.raises(DataError, match=text):
        load_data(PaletteConfig(data=str(table)))
