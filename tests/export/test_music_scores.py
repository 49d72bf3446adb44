"""Scores of music21's corpus as MIDI, and how a score's measures become bars."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import mido
import numpy as np
import pytest

from muserve_export.errors import DataError
from muserve_export.families.music.config import COLLECTED, MusicConfig
from muserve_export.families.music.data import TRACK_SETTINGS, TRACKS, make_grid
from muserve_export.families.music.sources import classical, collect_music
from muserve_export.families.music.sources.classical import Work, arrange, find_works, write_scores
from muserve_export.families.music.sources.score import read_score
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.roles import guess_roles
from muserve_server.tasks.music.rolls import Rolls, to_rolls
from muserve_server.tasks.music.song import Song, SongTrack

BEAT = 480
_NAMES = "CDEFGAB"


def score_file(path: Path, parts: Sequence[Sequence[str]], *, metre: str = "4/4", head: str = "") -> Path:
    """Writes MusicXML: for each part its measures, of notes such as "C4:1 G4:0.5" (quarters), tied on with a "~"."""
    beats, unit = metre.split("/")
    listed, bodies = "", ""
    for index, measures in enumerate(parts):
        listed += f'<score-part id="P{index}"><part-name>Part {index}</part-name></score-part>'
        body, is_tied = "", False
        for number, measure in enumerate(measures):
            body += f'<measure number="{number}">'
            if not number:
                body += f"<attributes><divisions>24</divisions><time><beats>{beats}</beats>"
                body += f"<beat-type>{unit}</beat-type></time></attributes>{head if not index else ''}"
            for word in measure.split():
                name, _, length = word.rstrip("~").partition(":")
                pitch = f"<pitch><step>{name[0]}</step><octave>{name[1]}</octave></pitch>" if name != "R" else "<rest/>"
                ties = ('<tie type="stop"/>' if is_tied else "") + ('<tie type="start"/>' if word[-1] == "~" else "")
                is_tied = word[-1] == "~"
                body += f"<note>{pitch}<duration>{round(24 * float(length))}</duration>{ties}</note>"
            body += "</measure>"
        bodies += f'<part id="P{index}">{body}</part>'
    path.write_text(f'<score-partwise version="4.0"><part-list>{listed}</part-list>{bodies}</score-partwise>')
    return path


def notes_of(song: Song, part: int = 0) -> list[tuple[float, float, int]]:
    """Start and end in quarters, and pitch."""
    return [(start / BEAT, end / BEAT, pitch) for start, end, pitch, _ in song.tracks[part].notes.tolist()]


def rolls_of(song: Song) -> Rolls:
    return to_rolls(song, guess_roles(song, TRACKS), make_grid(MusicConfig()), TRACK_SETTINGS)


def test_a_pickup_comes_at_the_end_of_a_bar_and_what_a_repeat_parted_is_one_bar(tmp_path: Path) -> None:
    part = ["C5:1", "D5:4", "E5:3", "F5:1", "G5:4", "A5:3"]
    song = read_score(score_file(tmp_path / "a.xml", [part]))
    assert song.time_signatures.tolist() == [[0, 4, 4]]
    assert notes_of(song) == [(3, 4, 72), (4, 8, 74), (8, 11, 76), (11, 12, 77), (12, 16, 79), (16, 19, 81)]


def test_a_measure_that_its_signature_does_not_explain_gets_its_own(tmp_path: Path) -> None:
    song = read_score(score_file(tmp_path / "a.xml", [["C5:4", "D5:5", "E5:4", "F5:3.5", "G5:4"]]))
    beats = [[tick // BEAT, *rest] for tick, *rest in song.time_signatures.tolist()]
    assert beats == [[0, 4, 4], [4, 5, 4], [9, 4, 4], [13, 7, 8], [16, 4, 4]]
    assert rolls_of(song).whole.tolist() == [True, False, True, False, True]


def test_alla_breve_is_the_grids_bar(tmp_path: Path) -> None:
    song = read_score(score_file(tmp_path / "a.xml", [["C5:4", "D5:4"]], metre="2/2"))
    assert song.time_signatures.tolist() == [[0, 4, 4]]
    assert read_score(score_file(tmp_path / "b.xml", [["C5:3"]], metre="3/4")).time_signatures.tolist() == [[0, 3, 4]]


def test_a_part_that_miscounts_does_not_drift_away_from_the_others(tmp_path: Path) -> None:
    good = ["C4:4", "D4:4", "E4:4"]
    bad = ["C5:3.875", "D5:4.958", "E5:4"]
    song = read_score(score_file(tmp_path / "a.xml", [bad, good, good]))
    assert [start for start, *_ in notes_of(song)] == [0, 4, 8]
    assert notes_of(song)[1] == (4, 8, 74)
    assert notes_of(song, 1) == [(0, 4, 60), (4, 8, 62), (8, 12, 64)]
    assert song.time_signatures.tolist() == [[0, 4, 4]]


def test_what_is_tied_is_one_note_and_what_is_not_are_two(tmp_path: Path) -> None:
    song = read_score(score_file(tmp_path / "a.xml", [["R:2 C5:1 C5:1~", "C5:4~", "C5:1 C5:3"]]))
    assert notes_of(song) == [(2, 3, 72), (3, 9, 72), (9, 12, 72)]


@pytest.mark.parametrize(
    ("head", "tempo_us"),
    [
        ("", []),
        ('<sound tempo="80"/>', [[0, 750_000]]),
        ("<direction><direction-type><words>Allegro</words></direction-type></direction>", []),
        (
            "<direction><direction-type><metronome><beat-unit>half</beat-unit><per-minute>60</per-minute></metronome>"
            "</direction-type></direction>",
            [[0, 500_000]],
        ),
    ],
    ids=["none", "sound", "words", "mark"],
)
def test_a_tempo_is_one_that_the_score_says_in_numbers(tmp_path: Path, head: str, tempo_us: list[list[int]]) -> None:
    path = score_file(tmp_path / "a.xml", [["C5:1", "D5:4"]], head=head)
    assert read_score(path).tempos.tolist() == tempo_us


def test_a_tempo_that_comes_later_says_nothing_of_the_beginning(tmp_path: Path) -> None:
    path = score_file(tmp_path / "a.xml", [["C5:4", "D5:4"]])
    text = path.read_text()
    path.write_text(text.replace('<measure number="1">', '<measure number="1"><sound tempo="80"/>'))
    assert not len(read_score(path).tempos)
    path.write_text(path.read_text().replace("</attributes>", '</attributes><sound tempo="60"/>'))
    assert read_score(path).tempos.tolist() == [[0, 1_000_000], [4 * BEAT, 750_000]]


def test_what_is_no_score_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<score-partwise>")
    with pytest.raises(DataError, match=r"a\.xml: music21 cannot read it"):
        read_score(path)


def part(pitch: int, *, notes: int = 8, length: int = BEAT) -> SongTrack:
    start = np.arange(notes) * BEAT
    rows = np.column_stack([start, start + length, pitch + np.arange(notes) % 3, np.full(notes, 80)])
    return SongTrack(0, 0, str(pitch), 0, rows)


def song_of(*tracks: SongTrack) -> Song:
    return Song(BEAT, tracks, np.empty((0, 2), np.int64), np.array([[0, 4, 4]]), 8 * BEAT)


def test_parts_get_their_instruments_by_height() -> None:
    arranged = arrange(song_of(*(part(pitch) for pitch in (60, 40, 70, 50, 80))))
    assert [(track.name, track.program) for track in arranged.tracks] == [
        ("80", 48), ("70", 0), ("60", 24), ("50", 0), ("40", 32),
    ]  # fmt: skip
    assert guess_roles(arranged, TRACKS) == [
        TRACKS.index(role) for role in ("strings", "keys", "guitar", "keys", "bass")
    ]
    assert len({track.channel for track in arranged.tracks}) == 5
    assert [track.program for track in arrange(song_of(part(60))).tracks] == [48]
    assert [track.program for track in arrange(song_of(part(60), part(62))).tracks] == [48, 32]


def test_parts_that_double_another_are_left_out() -> None:
    arranged = arrange(song_of(part(60), part(60, length=BEAT // 2), part(48), part(60, notes=4)))
    assert [track.name for track in arranged.tracks] == ["60", "48"]
    with pytest.raises(DataError, match="16 parts; MIDI has channels for 15"):
        arrange(song_of(*(part(5 * index) for index in range(16))))


@pytest.fixture(scope="module")
def works() -> dict[str, Work]:
    return {work.name: work for work in find_works()}


def test_the_corpus_has_chorales_and_movements_each_once(works: dict[str, Work]) -> None:
    styles = [work.style for work in works.values()]
    assert {style: styles.count(style) >= least for style, least in (("bach", 400), ("haydn", 9), ("mozart", 16))} == {
        "bach": True, "haydn": True, "mozart": True,
    }  # fmt: skip
    assert set(styles) == {"bach", "beethoven", "haydn", "mozart", "schumann"}
    assert {"bach-bwv66.6", "haydn-opus74no1-movement1", "schumann-opus41no1-movement4"} <= set(works)
    assert not {"bach-bwv846", "schumann-dichterliebe_no2"} & set(works)
    assert {work.path.suffix for work in works.values()} == {".mxl", ".xml"}


def test_a_chorale_is_written_as_the_loader_wants_it(works: dict[str, Work], tmp_path: Path) -> None:
    # 57.8 is in 3/4.
    chosen = [works[f"bach-{name}"] for name in ("bwv66.6", "bwv57.8", "bwv385")]
    paths = write_scores([*chosen, chosen[0]], tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        "bach/bach-bwv66.6.mid",
        "bach/bach-bwv385.mid",
    ]
    song = read_song(paths[0].read_bytes())
    assert [(track.name, track.program) for track in song.tracks] == [
        ("Soprano", 48), ("Alto", 0), ("Tenor", 24), ("Bass", 32),
    ]  # fmt: skip
    rolls = rolls_of(song)
    assert rolls.whole.all()
    assert rolls.tempo_bpm == pytest.approx(96, rel=1e-3)
    assert rolls.fit.on_grid_share == 1
    assert not rolls.onset[0, :, :12].any(), "the pickup is the last beat of its bar"
    assert rolls.onset[0, 1:, 12].any(axis=-1).all()
    assert not rolls_of(read_song(paths[1].read_bytes())).tempo_bpm.any(), "this score says no tempo"
    assert mido.MidiFile(paths[0]).type == 1


def test_no_score_in_four_quarters_is_an_error(works: dict[str, Work], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not one of 1 scores is in 4/4"):
        write_scores([works["bach-bwv57.8"]], tmp_path)


def test_the_word_music21_stands_for_the_corpus(
    works: dict[str, Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classical, "find_works", lambda: [works["bach-bwv66.6"], works["mozart-k156-movement4"]])
    collected = collect_music(tmp_path / "out", [Path("music21")])
    assert [(one.style, one.pieces, one.instruments, one.kind) for one in collected.styles] == [
        ("bach", 1, 4, "real"), ("mozart", 1, 4, "real"),
    ]  # fmt: skip
    (source,) = json.loads((tmp_path / "out/sources.json").read_text())
    assert (source["name"], source["styles"]) == ("music21", ["bach", "mozart"])
    assert source["licence"] == "unclear; for your own training only"


def test_scores_of_unclear_terms_do_not_come_among_the_bundled_models_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="choose another folder: --out data/classical"):
        collect_music(Path(COLLECTED), [Path("music21")])


def test_without_music21_or_its_corpus_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "music21").mkdir()
    (tmp_path / "music21/__init__.py").touch()
    monkeypatch.delitem(sys.modules, "music21", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="holds no scores; install music21 with its corpus"):
        collect_music(tmp_path / "out", [Path("music21")])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"is not installed: pip install 'muserve\[classical\]'"):
        collect_music(tmp_path / "out", [Path("music21")])
