from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from muserve.bundle import read_bundle, write_manifest
from muserve.v1 import manifest_pb2, music_pb2
from muserve_export.errors import DataError
from muserve_export.families.music import FAMILY
from muserve_export.families.music.data import TRACK_SETTINGS
from muserve_export.families.music.measure import judges, served
from muserve_export.families.music.measure.accompaniment import Accompaniments, accompany
from muserve_export.families.music.measure.metrics import Segments
from muserve_export.families.music.measure.reference import Reference, load_reference
from muserve_export.families.music.measure.served import DataView, Generated, MusicReader, generate
from muserve_export.measuring.evaluate import evaluate_bundle
from muserve_server.model import LocalModel
from muserve_server.tasks.music.grid import Grid
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.song import Song, SongTrack
from tests.export.music_scores import DRUMS, Note, Part, part, roll, song, songs
from tests.music_bundles import STYLES, chord_bundle, music_bundle

GRID = Grid(bars=4, beats_per_bar=4, beat_unit=4, steps_per_bar=16, lowest_pitch=24, pitches=84)
DESK = MusicReader(GRID, TRACK_SETTINGS)
TEMPI, PER_TEMPO = 3, 2
STEP_TICKS = 120
_US_PER_MINUTE = 60e6


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer pieces, and judges that learn less."""
    monkeypatch.setattr(served, "TEMPI", TEMPI)
    monkeypatch.setattr(served, "PER_TEMPO", PER_TEMPO)
    monkeypatch.setattr(judges, "_EPOCHS", 5)
    monkeypatch.setattr(judges, "_PER_EPOCH", 512)


def midi(scores: dict[int, list[Note]], tempo_bpm: float = 120.0, bars: int = 4) -> bytes:
    """A file with a track for each role that has notes."""
    tracks = []
    for role, notes in scores.items():
        settings = TRACK_SETTINGS[role]
        rows = [[start * STEP_TICKS, (start + length) * STEP_TICKS, pitch, 90] for _, start, length, pitch in notes]
        channel = 9 if settings.drums else role
        tracks.append(SongTrack(role, channel, settings.name, settings.program, np.array(sorted(rows), np.int64)))
    return write_song(
        Song(480, tuple(tracks), np.array([[0, round(_US_PER_MINUTE / tempo_bpm)]]), np.array([[0, 4, 4]]), bars * 1920)
    )


def by_role(score: list[Note]) -> dict[int, list[Note]]:
    return {role: [note for note in score if note[0] == role] for role in range(5) if any(n[0] == role for n in score)}


def piece_of(scores: dict[int, list[Note]], tempo_bpm: float = 120.0, given: int | None = None) -> music_pb2.MusicPiece:
    piece = music_pb2.MusicPiece(midi=midi(scores, tempo_bpm), tempo_bpm=tempo_bpm, bars=4)
    for role, notes in scores.items():
        piece.tracks.add(role=TRACK_SETTINGS[role].role, notes=len(notes), given=role == given, drums=role == DRUMS)
    return piece


class Player:
    """A model that answers as it is told; looks like `LocalModel`."""

    def __init__(self, answer: Callable[[Any], list[music_pb2.MusicPiece]], styles: tuple[str, ...]) -> None:
        music = manifest_pb2.MusicSettings(accompanist="accompanist")
        music.styles.extend(manifest_pb2.MusicStyleSettings(name=style) for style in styles)
        self.bundle = SimpleNamespace(manifest=SimpleNamespace(music=music))
        self._answer = answer
        self.requests: list[Any] = []

    async def answer(self, request: Any) -> music_pb2.GenerateMusicResponse:
        self.requests.append(request)
        return music_pb2.GenerateMusicResponse(pieces=self._answer(request))


class Data:
    """Real music of two styles."""

    def __init__(self) -> None:
        self.training: Part = part(songs(40, styles=2, seed=1))
        self.validation: Part = part(songs(16, styles=2, seed=2))
        self.test: Part = part(songs(30, styles=2, seed=3))
        self.styles: tuple[str, ...] = ("slow", "quick")
        self.sha256 = "ab" * 32


def written(player: Player, data: Data | None = None) -> Generated:
    seen = DataView(data or Data(), range(5), styled=bool(player.bundle.manifest.music.styles))
    return asyncio.run(generate(cast(LocalModel, player), DESK, seen))


def test_what_is_read_back_is_what_was_written() -> None:
    score = song(4, np.random.default_rng(0))
    onset, hold, read = DESK.read(piece_of(by_role(score), 97.3))
    np.testing.assert_array_equal(np.stack([onset, hold]), np.stack(roll(score)))
    assert read is not None
    assert read.tempos[0, 1] == round(_US_PER_MINUTE / 97.3)
    onset, hold, _ = DESK.read(piece_of(by_role(score), given=DRUMS), given=False)
    assert not onset[:, DRUMS].any()
    np.testing.assert_array_equal(onset[:, 1:], roll(score)[0][:, 1:])


def test_a_short_piece_is_silent_at_its_end_and_one_without_notes_throughout() -> None:
    onset, _, _ = DESK.read(piece_of({1: [(1, 0, 2, 60)]}))
    assert onset.shape == (4, 5, 16, 84)
    assert onset.sum() == 1
    silence = music_pb2.MusicPiece(midi=midi({}))
    silence.tracks.add(role="keys", notes=0)
    onset, hold, read = DESK.read(silence)
    assert not (onset | hold).any()
    assert read is None


def test_each_style_is_asked_for_at_tempi_of_its_training_segments() -> None:
    data = Data()
    data.training.tempo_bpm[:] = np.where(data.training.style == 0, 60, 0)
    data.training.tempo_bpm[:20] = 90
    player = Player(lambda request: [piece_of(by_role(song(0, np.random.default_rng(0))), request.tempo_bpm or 120)
                                     for _ in range(request.count)], data.styles)  # fmt: skip
    found = written(player, data)
    assert [request.style for request in player.requests] == ["slow"] * 3 + ["quick"] * 3
    assert [request.tempo_bpm for request in player.requests[:3]] == [60, 75, 90]
    assert not any(request.HasField("tempo_bpm") for request in player.requests[3:])  # nobody knows them
    samples = [request.first_sample + index for request in player.requests for index in range(request.count)]
    assert samples == list(range(12))  # no noise twice
    assert found.segments.style.tolist() == [0] * 6 + [1] * 6
    assert found.segments.tempo_bpm.tolist() == [60] * 2 + [75] * 2 + [90] * 2 + [0] * 6
    assert found.tempo_exact == 1


def test_a_tempo_that_is_nearly_right_is_not_exact() -> None:
    score = by_role(song(0, np.random.default_rng(0)))
    player = Player(lambda request: [piece_of(score, request.tempo_bpm + 0.01 * (request.first_sample == 0))
                                     for _ in range(request.count)], ("slow", "quick"))  # fmt: skip
    assert written(player).tempo_exact == pytest.approx(10 / 12)


@pytest.fixture(scope="module")
def reference() -> Reference:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "_EPOCHS", 8)
        patch.setattr(judges, "_PER_EPOCH", 512)
        return load_reference(Data(), "test")


def accompanied(answer: Callable[[Any], list[music_pb2.MusicPiece]], reference: Reference) -> Accompaniments:
    found = asyncio.run(accompany(cast(LocalModel, Player(answer, reference.styles)), DESK, reference))
    assert found is not None
    return found


def key_of(request: music_pb2.AccompanyRequest) -> tuple[int, int]:
    """Role of the given track, and the pitch class it plays most; 0 for drums."""
    [track] = read_song(request.midi).tracks
    role = [settings.role for settings in TRACK_SETTINGS].index(request.roles[0].role)
    return role, int(np.bincount(track.notes[:, 2] % 12).argmax()) if role != DRUMS else 0


def play(request: music_pb2.AccompanyRequest, key: int, seed: int) -> list[music_pb2.MusicPiece]:
    """Chords of one key in all tracks but the given one, another piece for each sample."""
    role, _ = key_of(request)
    pieces = []
    for sample in range(request.count):
        random = np.random.default_rng([seed, sample])
        score = by_role(song(key, random, ("slow", "quick").index(request.style)))
        score[role] = [(role, 0, 64, 60)]
        pieces.append(piece_of(score, given=role))
    return pieces


def test_an_accompanist_that_listens_fits_better_than_chance(reference: Reference) -> None:
    found = accompanied(lambda request: play(request, key_of(request)[1], 0), reference)
    assert found.count == 2 * 5 * 4
    fit = found.tonal_distance
    assert fit.real < fit.accompanied < fit.random
    assert fit.p < 0.01
    assert found.joint_logit.accompanied > found.joint_logit.random
    assert found.joint_logit.p < 0.01
    assert found.swap_wins > 0.5
    assert found.swap_p < 0.05
    assert found.changed_by_input > 0.5


def test_an_accompanist_that_does_not_listen_does_not(reference: Reference) -> None:
    found = accompanied(lambda request: play(request, 1, 0), reference)
    assert found.tonal_distance.p > 0.05
    assert found.joint_logit.p > 0.05
    assert found.swap_p > 0.05
    assert found.changed_by_input == 0
    assert found.changed_by_noise > 0.1


def test_nothing_to_give_is_no_accompaniment() -> None:
    onset, hold = np.zeros((8, 4, 5, 16, 84), bool), np.zeros((8, 4, 5, 16, 84), bool)
    hold[:, :, 4, :, 40] = True  # a note that began before is in nobody's file
    onset[:, 0, 1, 0, 40] = True  # and a track that is silent in most bars asks for little
    silent = Segments(onset, hold, np.zeros(8, int), np.arange(8))
    empty = cast(Reference, SimpleNamespace(held_out=silent))
    found = asyncio.run(accompany(cast(LocalModel, Player(lambda _: [], ())), DESK, empty))
    assert found is None


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MIDI files of the styles that the bundles for tests know, ten pieces each of four bars."""
    folder = tmp_path_factory.mktemp("music")
    random = np.random.default_rng(0)
    for index, style in enumerate(STYLES):
        (folder / style).mkdir()
        for number in range(10):
            score = [note for note in song(int(random.integers(12)), random, index % 2) if note[0] in (0, 1, 3)]
            # No two bars are alike, or those that training has too would be taken out of the other parts.
            score += [(1, 16 * bar + step, 1, 80 + int(random.integers(8))) for bar in range(4) for step in (1, 3, 13)]
            path = folder / style / f"{style}-{number}.mid"
            path.write_bytes(midi(by_role(score), 90 + 3 * number))
    return folder


def names_of(metrics: Sequence[manifest_pb2.Metric]) -> set[str]:
    return {metric.name for metric in metrics}


def test_a_bundle_is_measured_with_all_that_it_has(tmp_path: Path, collection: Path) -> None:
    metrics = {metric.name: metric for metric in evaluate_bundle(FAMILY, music_bundle(tmp_path), data=str(collection))}
    assert {
        "median_distance_corrected", "median_distance_paper", "worst_distance_ratio_corrected",
        "cells_over_3_corrected", "empty_bars_worst_track", "tonal_distance_corrected", "tonal_distance_gap_corrected",
        "joint_rate", "style_accuracy", "tempo_written", "density_by_tempo", "accompaniment_tonal_distance",
        "accompaniment_joint_logit", "accompaniment_swap_wins", "accompaniment_changed", "copied_bars", "copied_run",
        "copied_pieces", "near_copies", "overlap_pitch_count", "groove_consistency", "scale_consistency",
    } <= set(metrics)  # fmt: skip
    assert metrics["tempo_written"].value == 1
    assert metrics["median_distance_corrected"].value > metrics["median_distance_corrected"].reference
    assert metrics["median_distance_corrected"].reference_name == "training against held-out"
    assert metrics["copied_bars"].value == 0  # its weights are random
    beside = {other.name for other in metrics["joint_rate"].others}
    assert beside == {"shuffled held-out", "95 % from", "95 % to"}
    assert all(metric.unit for metric in metrics.values())


def test_every_cell_is_written_as_csv(tmp_path: Path, collection: Path) -> None:
    bundle, details = music_bundle(tmp_path, accompanist=False), tmp_path / "cells.csv"
    assert not any(
        "accompaniment" in metric.name
        for metric in evaluate_bundle(FAMILY, bundle, data=str(collection), details=details)
    )
    rows = list(csv.DictReader(details.read_text(encoding="utf-8").splitlines()))
    assert {row["style"] for row in rows} == set(STYLES)
    assert {row["convention"] for row in rows} == {"corrected", "paper"}
    silent = next(row for row in rows if row["figure"] == "EB" and row["tracks"] == "keys")
    assert float(silent["held-out"]) == 0
    assert all(float(row["training low"]) <= float(row["training"]) <= float(row["training high"]) for row in rows)


def test_a_model_of_chords_is_measured_where_it_can(tmp_path: Path, collection: Path) -> None:
    names = names_of(evaluate_bundle(FAMILY, chord_bundle(tmp_path), data=str(collection), part="validation"))
    assert {"median_distance_corrected", "empty_bars_worst_track", "tempo_written", "scale_consistency"} <= names
    assert not names & {"joint_rate", "style_accuracy", "tonal_distance_corrected", "density_by_tempo", "copied_run"}


def test_other_styles_and_unknown_data_are_refused(tmp_path: Path, collection: Path) -> None:
    folder = music_bundle(tmp_path)
    (tmp_path / "other" / "march").mkdir(parents=True)
    for path in (collection / "march").iterdir():
        (tmp_path / "other" / "march" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="knows the styles march, waltzing, bossanova, the data has march"):
        evaluate_bundle(FAMILY, folder, data=str(tmp_path / "other"))
    with pytest.raises(DataError, match="--data"):
        evaluate_bundle(FAMILY, folder)


def test_data_that_the_bundle_was_not_trained_on_is_refused(
    tmp_path: Path, collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = music_bundle(tmp_path)
    manifest = read_bundle(folder).manifest
    manifest.training["data_sha256"] = "00"
    (folder / "manifest.json").unlink()
    write_manifest(folder, manifest, optional=frozenset())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "music").symlink_to(collection)
    with pytest.raises(DataError, match="trained on other data"):
        evaluate_bundle(FAMILY, folder)
