"""Chord charts, the arrangements that say how each style plays them, and MMA, which does."""

from __future__ import annotations

from pathlib import Path

import mido
import pytest

from muserve_export.debian import fetch_package, unpack_package
from muserve_export.errors import DataError
from muserve_export.families.music.sources.arrangement import read_arrangements, song_text, tempo_of
from muserve_export.families.music.sources.chart import Chart, parse_charts, read_charts
from muserve_export.families.music.sources.mma import CHARTS, find_mma, render_charts
from muserve_export.families.music.sources.programs import DRUMS, notes_by_program
from muserve_export.families.music.sources.ticks import on_grid_share, onsets

CHART = "name: one\nkey: C\nform: A A\nA: | C | Am7 | F G | C |\n"


def test_a_chart_is_bars_of_chords() -> None:
    text = "# comment\n\nname: a-b\nkey: F#m\nform: A B A # form\nA: | F#m | G |\n | % | C#7 D/F# |\nB: | E A B C#m |\n"
    first, second = parse_charts(f"{text}\n{CHART}", "x")
    assert first == Chart(
        "a-b", "F#m", ("A", "B", "A"), {"A": [("F#m",), ("G",), ("G",), ("C#7", "D/F#")], "B": [("E", "A", "B", "C#m")]}
    )
    assert (first.bars, second.name, second.bars) == (9, "one", 8)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: one", "name: One song", "line 1: name is 'One song'"),
        ("name: one\n", "", "line 1: name is ''"),
        ("key: C", "key: H", "line 1: key is 'H'"),
        ("form: A A", "form: A B", "names B; the chart has the sections A"),
        ("form: A A", "form:", "the form is empty"),
        ("key: C", "key: C\nkey: C", "line 3: 'key' stands twice"),
        ("| Am7 |", "| Axx |", "line 4: 'Axx' is no chord"),
        ("| Am7 |", "| C D E |", "line 4: a bar has 1, 2 or 4 chords"),
        ("| Am7 |", "| |", "has 0"),
        ("A: | C |", "A: | % |", "line 4: '%' repeats the bar before"),
        ("| C |\n", "| C\n", "line 4: bars stand between strokes"),
        ("key: C", "key; C", "line 2: 'key; C' is neither"),
    ],
)
def test_a_chart_that_is_not_whole_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    assert old in CHART
    with pytest.raises(DataError, match=message) as caught:
        parse_charts(CHART.replace(old, new, 1), "my.txt")
    assert "my.txt, line " in str(caught.value)


def test_charts_of_one_name_and_a_folder_without_charts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no chord charts"):
        read_charts(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(CHART)
    with pytest.raises(DataError, match=r"b\.txt: a second chart named 'one'"):
        read_charts(tmp_path)
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"b\.txt: cannot be read as text"):
        read_charts(tmp_path)


def test_our_charts_are_many_and_of_many_kinds() -> None:
    charts = read_charts(CHARTS)
    assert len(charts) >= 48
    assert all(16 <= chart.bars <= 40 for chart in charts)
    assert len({chart.key for chart in charts}) >= 16
    assert sum(chart.key.endswith("m") for chart in charts) >= 15
    forms = [tuple(chart.sections[section] for section in chart.form) for chart in charts]
    assert all(one != other for index, one in enumerate(forms) for other in forms[:index])


def test_every_style_draws_its_tempi_from_all_of_its_range() -> None:
    charts = read_charts(CHARTS)
    arrangements = read_arrangements()
    assert len(arrangements) >= 8
    for arrangement in arrangements:
        tempi = [tempo_of(chart, arrangement) for chart in charts]
        span = arrangement.fastest_bpm - arrangement.slowest_bpm
        assert min(tempi) < arrangement.slowest_bpm + span / 5
        assert max(tempi) > arrangement.fastest_bpm - span / 5
        assert {arrangement.density(tempo) for tempo in tempi} == {1, 2, 3}
        assert arrangement.density(arrangement.slowest_bpm) == 1
        assert arrangement.density(arrangement.fastest_bpm) == 3


def test_a_song_follows_the_form_of_its_chart() -> None:
    (chart,) = parse_charts(CHART, "x")
    arrangement = next(one for one in read_arrangements() if one.style == "samba")
    density = arrangement.density(tempo_of(chart, arrangement))
    song_lines = song_text(chart, arrangement).split(arrangement.text)[1].splitlines()
    played = [line for line in song_lines if line and not line.startswith("AllTracks")]
    section = ["C / / /", "Am7 / / /", "F / G /"]
    assert played == [
        "Groove Opening",
        *section,
        "C / / /",
        f"Groove Verse{density}",
        *section,
        "Groove Fill",
        "C / / /",
        "Groove Ending",
        *section,
        "C / / /",
    ]
    assert song_lines.count("AllTracks RTime 0") == played.count("Groove Fill") + 3


@pytest.fixture(scope="session")
def mma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real MMA, out of its Debian package."""
    folder = tmp_path_factory.mktemp("mma")
    try:
        package = fetch_package("mma", folder)
    except DataError as error:
        pytest.skip(f"the Debian package mma cannot be fetched here: {error}")
    unpack_package(package, folder)
    root = find_mma(folder)
    assert root
    return root


def test_every_style_plays_a_chart_on_the_grid_with_its_roles(mma: Path, tmp_path: Path) -> None:
    chart = next(one for one in read_charts(CHARTS) if one.name == "lamplighter")
    paths = render_charts(mma, tmp_path, charts=[chart])
    arrangements = read_arrangements()
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        f"{one.style}/lamplighter.mid" for one in arrangements
    ]
    for path, arrangement in zip(paths, arrangements, strict=True):
        file = mido.MidiFile(path)
        assert on_grid_share(file) >= 0.97, arrangement.style
        programs = set(notes_by_program(file))
        assert not programs & set(range(96, 128)), arrangement.style
        roles = [programs & set(range(*role)) for role in ((0, 24), (24, 32), (32, 40), (40, 96))]
        assert DRUMS in programs
        assert roles[2], arrangement.style
        assert sum(map(bool, roles)) >= 3, arrangement.style
        tempi = [message.tempo for track in file.tracks for message in track if message.type == "set_tempo"]
        assert [round(mido.tempo2bpm(tempo)) for tempo in tempi] == [tempo_of(chart, arrangement)]
        bars = (chart.bars + arrangement.opening_bars) * 4 * file.ticks_per_beat
        assert bars - 4 * file.ticks_per_beat <= onsets(file)[-1] < bars


def test_a_song_is_the_same_each_time_and_slow_songs_are_busier(mma: Path, tmp_path: Path) -> None:
    charts = read_charts(CHARTS)
    tempi = {chart.name: tempo_of(chart, read_arrangements()[1]) for chart in charts}
    some = sorted(charts, key=lambda chart: tempi[chart.name])[:: len(charts) - 1]
    style = read_arrangements()[1].style
    slow, fast = render_charts(mma, tmp_path / "a", charts=some, styles=[style])
    again = render_charts(mma, tmp_path / "b", charts=some, styles=[style])
    assert [path.read_bytes() for path in again] == [slow.read_bytes(), fast.read_bytes()]
    density = [
        len(onsets(file)) / (onsets(file)[-1] / file.ticks_per_beat) for file in map(mido.MidiFile, (slow, fast))
    ]
    assert density[0] > 1.2 * density[1]


def test_what_mma_refuses_is_said(mma: Path, tmp_path: Path) -> None:
    # A major key that no signature has: ten sharps.
    (chart,) = parse_charts(CHART.replace("key: C", "key: A#"), "x")
    with pytest.raises(DataError, match=r"cannot play one as ballad; it says: .*keysignature"):
        render_charts(mma, tmp_path, charts=[chart], styles=["ballad"])


def test_mma_is_found_by_a_relative_path(mma: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mma.parent)
    root = find_mma(Path())
    assert root is not None
    (chart,) = parse_charts(CHART, "x")
    (path,) = render_charts(root, Path("rendered"), charts=[chart], styles=["folk"])
    assert path == mma.parent / "rendered/folk/one.mid"
    assert path.is_file()
