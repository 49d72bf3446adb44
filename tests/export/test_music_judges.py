from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from muserve_export.families.music.measure import judges
from muserve_export.families.music.measure.distances import mix_tracks, shuffle_tracks
from muserve_export.families.music.measure.judges import (
    judge_features,
    load_joint_judge,
    load_style_judge,
    merge_chords,
    shared_tracks,
)
from muserve_export.families.music.measure.metrics import Layout, Segments
from muserve_export.families.music.measure.reference import Reference, load_reference, quick_figures
from tests.export.music_scores import BASS, DRUMS, GUITAR, KEYS, STRINGS, Part, part, segments, songs

TRACKS = 5


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "_EPOCHS", 5)
    monkeypatch.setattr(judges, "_PER_EPOCH", 512)


def shuffled(music: Segments) -> Segments:
    return mix_tracks(music, shuffle_tracks(music.style, music.piece, TRACKS, seed=3))


def test_tracks_are_heard_by_chroma_and_rhythm() -> None:
    music = segments([[(KEYS, 4, 6, 61), (KEYS, 4, 6, 73), (DRUMS, 16, 1, 36)]])
    heard = judge_features(music)
    assert heard.chroma.shape == (1, 4, 2, 12, 16)
    assert heard.chroma[0, 0, 0, 1, :3].tolist() == [0, 8, 4]  # sounding steps of two C sharps, by beat
    assert heard.chroma[0, 0, 1, 1, :3].tolist() == [0, 2, 0]  # onsets
    assert heard.rhythm[0, 0, :, 4].tolist() == [2, 0, 43]  # onsets, held, mean row of 37 and 49
    assert heard.rhythm[0, 0, :, 5].tolist() == [0, 2, 43]
    assert heard.drums[0, 12, 16] == 1
    assert heard.drums.sum() == 1
    assert judge_features(music, tracks=[BASS]).chroma.sum() == 0


def test_mixing_what_was_heard_is_hearing_what_was_mixed() -> None:
    music = songs(6)
    source = shuffle_tracks(music.style, music.piece, TRACKS, seed=0)
    one, other = judge_features(music).mix(source), judge_features(mix_tracks(music, source))
    np.testing.assert_array_equal(one.chroma, other.chroma)
    np.testing.assert_array_equal(one.rhythm, other.rhythm)
    np.testing.assert_array_equal(one.drums, other.drums)


def test_the_joint_judge_tells_tracks_of_one_piece_from_tracks_of_several() -> None:
    judge = load_joint_judge(songs(60, seed=1), songs(20, seed=2))
    fresh = songs(50, seed=3)
    calls = [
        float((judge.listen(judge_features(music)).argmax(axis=1) == 1).mean()) for music in (fresh, shuffled(fresh))
    ]
    assert calls[0] > 0.8
    assert calls[1] < 0.2


def test_a_judge_is_kept_in_a_file_and_made_alike_again(tmp_path: Path) -> None:
    training, validation, fresh = songs(20, seed=1), songs(10, seed=2), judge_features(songs(10, seed=3))
    file = tmp_path / "new" / "judge.pt"
    torch.manual_seed(1234)
    state = torch.get_rng_state()
    first = load_joint_judge(training, validation, file=file).listen(fresh)
    assert torch.equal(torch.get_rng_state(), state)  # a training that goes on beside is not disturbed
    again = load_joint_judge(training, validation).listen(fresh)
    np.testing.assert_array_equal(first, again)
    kept = load_joint_judge(shuffled(training), shuffled(validation), file=file).listen(fresh)
    np.testing.assert_array_equal(first, kept)
    other = load_joint_judge(training, validation, seed=1).listen(fresh)
    assert not np.array_equal(first, other)


def test_the_style_judge_hears_styles_without_drums() -> None:
    layout = Layout(("strings",))

    def strings(count: int, seed: int) -> Segments:
        return merge_chords(songs(count, styles=2, seed=seed), ["strings"])[0]

    judge = load_style_judge(strings(30, 1), strings(10, 2), 2, layout)
    fresh = strings(25, 3)
    assert (judge.listen(judge_features(fresh, layout)).argmax(axis=1) == fresh.style).mean() > 0.9


def test_shared_tracks_sound_in_half_of_the_segments_of_every_style() -> None:
    keys_alone, guitar_alone = [(KEYS, 0, 1, 60), (BASS, 0, 1, 40)], [(GUITAR, 0, 1, 60), (BASS, 0, 1, 40)]
    with_strings = [*keys_alone, (STRINGS, 0, 1, 70)]
    rare = segments([keys_alone] * 3 + [guitar_alone] * 3, [0, 0, 0, 1, 1, 1])
    assert shared_tracks(rare) == ("bass", "chords")
    assert shared_tracks(segments([with_strings, keys_alone], [0, 0])) == ("keys", "bass", "strings")
    lonely = segments([[(KEYS, 0, 1, 60)], [(BASS, 0, 1, 40)], [], []], [0, 0, 0, 0])
    assert len(shared_tracks(lonely)) == 1  # the best there is


def test_merged_chords_are_keys_and_guitar_as_one_track() -> None:
    music = segments([[(KEYS, 0, 3, 60), (GUITAR, 1, 2, 60), (GUITAR, 4, 1, 64), (BASS, 0, 1, 40)]])
    merged, layout = merge_chords(music, ["bass", "chords"])
    assert layout.roles == ("bass", "chords")
    assert merged.onset.shape[2] == 2
    onsets = np.argwhere(merged.onset[0, 0, 1])
    assert onsets.tolist() == [[0, 36], [1, 36], [4, 40]]
    assert np.argwhere(merged.hold[0, 0, 1]).tolist() == [[2, 36]]  # where one begins, the other is not held


class Data:
    """Real music of two styles."""

    def __init__(self) -> None:
        self.training: Part = part(songs(30, styles=2, seed=1))
        self.validation: Part = part(songs(12, styles=2, seed=2))
        self.test: Part = part(songs(12, styles=2, seed=3))
        self.styles = ("slow", "quick")
        self.sha256 = "ab" * 32


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judges, "_EPOCHS", 5)
        patch.setattr(judges, "_PER_EPOCH", 512)
        return load_reference(Data(), folder=tmp_path_factory.mktemp("judges"))


def test_quick_figures_of_music_like_the_real(reference: Reference) -> None:
    found = quick_figures(*like(songs(20, styles=2, seed=7)), reference)
    assert found["median_distance_corrected"] < 0.5
    assert found["cells_over_3_corrected"] < 3
    assert abs(found["eb_bass"]) < 1
    assert found["td"] < (found["td_real"] + found["td_shuffled"]) / 2
    assert found["joint_rate"] > 0.7 > 0.3 > found["joint_rate_shuffled"]
    assert found["style_accuracy"] > 0.9
    assert all(np.isfinite(list(found.values())))


def test_quick_figures_of_bad_music(reference: Reference) -> None:
    music = songs(20, styles=2, seed=7)
    music.onset[:, :2, BASS] = False
    music.hold[:, :2, BASS] = False
    onset, hold, style = like(shuffled(music))
    found = quick_figures(onset, hold, 1 - style, reference)
    assert found["eb_bass"] == pytest.approx(50)
    assert found["worst_ratio_corrected"] > 3
    assert found["joint_rate"] < 0.3
    assert found["style_accuracy"] < 0.1
    assert found["td"] > (found["td_real"] + found["td_shuffled"]) / 2


def test_holds_as_a_network_gives_them_do_no_harm(reference: Reference) -> None:
    onset, hold, style = like(songs(4, styles=2, seed=7))
    assert quick_figures(onset, hold | onset, style, reference) == quick_figures(onset, hold, style, reference)


def like(music: Segments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return music.onset, music.hold, music.style
