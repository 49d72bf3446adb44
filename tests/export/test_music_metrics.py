from __future__ import annotations

import numpy as np
import pytest

from muserve_export.families.music.measure.copies import CopyDetector, near_copy_rates, nearest_distances
from muserve_export.families.music.measure.distances import (
    PieceSums,
    compare,
    interval,
    measure_pieces,
    mix_tracks,
    resample,
    shuffle_tracks,
)
from muserve_export.families.music.measure.metrics import Cell, Layout, Segments, measure
from muserve_export.families.music.measure.overlap import (
    features,
    groove_consistency,
    overlap_area,
    overlap_areas,
    scale_consistency,
)
from muserve_export.families.music.measure.tempo import onsets_per_bar, tempo_response
from muserve_export.families.music.measure.tracks import paired_p, tonal_gap
from tests.export.music_scores import BASS, DRUMS, GUITAR, KEYS, STRINGS, Note, part, segments, song, songs

C_MAJOR = [(KEYS, 0, 4, pitch) for pitch in (60, 64, 67)]


def figure(score: list[Note], metric: str, tracks: str, convention: str = "corrected", bars: int = 1) -> float:
    """One figure of one segment; NaN where there is none."""
    music = segments([score], bars=bars)
    tally = measure(music.onset, music.hold)[convention]
    index = tally.cells.index(Cell(metric, tracks))
    top, bottom = tally.top[0, index], tally.bottom[0, index]
    return float(top / bottom) if bottom else float("nan")


def test_a_c_major_chord_has_three_pitch_classes_in_whatever_octaves() -> None:
    assert figure(C_MAJOR, "UPC", "keys") == 3
    assert figure([*C_MAJOR, (KEYS, 8, 2, 72), (KEYS, 9, 1, 28)], "UPC", "keys") == 3


def test_the_papers_chroma_are_seven_neighbouring_semitones() -> None:
    neighbours = [(KEYS, step, 1, 24 + step) for step in range(7)]
    assert figure(neighbours, "UPC", "keys", "paper") == 1
    assert figure([*neighbours, (KEYS, 7, 1, 31)], "UPC", "keys", "paper") == 2
    all_cs = [(KEYS, index, 1, 24 + 12 * index) for index in range(7)]
    assert figure(all_cs, "UPC", "keys", "paper") == 7
    assert figure(all_cs, "UPC", "keys") == 1


@pytest.mark.parametrize("convention", ["corrected", "paper"])
def test_one_silent_bar_of_four_is_25_percent_and_a_held_note_is_not_silence(convention: str) -> None:
    score = [(BASS, 0, 1, 40), (BASS, 16, 17, 40)]  # bars 0, 1, and its end in bar 2
    assert figure(score, "EB", "bass", convention, bars=4) == 25
    assert figure(score, "EB", "keys", convention, bars=4) == 100


def test_empty_bars_do_not_count_in_upc() -> None:
    assert figure(C_MAJOR, "UPC", "keys", bars=4) == 3


def test_qualified_notes_last_two_steps() -> None:
    assert figure([(KEYS, 0, 1, 60), (KEYS, 4, 2, 60)], "QN", "keys") == 50
    assert figure([(KEYS, 0, 1, 60), (KEYS, 1, 1, 60)], "QN", "keys") == 0  # a repeat is not one long note …
    assert figure([(KEYS, 0, 1, 60), (KEYS, 1, 1, 60)], "QN", "keys", "paper") == 100  # … but is to the paper's code


def test_a_note_across_the_bar_line_is_long_only_where_it_is_one_note() -> None:
    score = [(KEYS, 15, 2, 60)]
    assert figure(score, "QN", "keys", bars=4) == 100
    assert figure(score, "QN", "keys", "paper", bars=4) == 0


def test_a_note_on_the_last_step_is_left_out_since_its_length_is_unknown() -> None:
    assert np.isnan(figure([(KEYS, 15, 1, 60)], "QN", "keys"))
    assert figure([(KEYS, 15, 1, 60), (KEYS, 0, 1, 62)], "QN", "keys", bars=4) == 0


def test_qn_of_the_paper_is_a_mean_over_bars_and_the_corrected_one_over_notes() -> None:
    score = [(KEYS, 0, 2, 60)] + [(KEYS, 16 + 2 * index, 1, 60) for index in range(3)]
    assert figure(score, "QN", "keys", bars=2) == 25
    assert figure(score, "QN", "keys", "paper", bars=2) == 50


def test_drum_patterns() -> None:
    on_eighths: list[Note] = [(DRUMS, step, 1, 42) for step in range(0, 16, 2)]
    between: list[Note] = [(DRUMS, step, 1, 42) for step in range(1, 16, 2)]
    half: list[Note] = [(DRUMS, 0, 1, 36), (DRUMS, 3, 1, 36)]
    assert figure(on_eighths, "DP", "drums") == 100
    assert figure(between, "DP", "drums") == pytest.approx(10)
    assert figure(half, "DP", "drums") == pytest.approx(55)
    assert figure(between, "DP", "drums", "paper") == 100  # the mask may be moved
    assert figure(half, "DP", "drums", "paper") == pytest.approx(65)
    assert np.isnan(figure(C_MAJOR, "DP", "drums"))


def test_tonal_distance_of_the_same_chroma_is_0_and_of_a_tritone_the_root_of_8() -> None:
    same = [(KEYS, 0, 4, 60), (BASS, 1, 2, 36)]
    tritone = [(KEYS, 0, 4, 60), (BASS, 0, 4, 42)]  # opposite on two circles of radius 1, the same on the third
    assert figure(same, "TD", "keys-bass") == pytest.approx(0, abs=1e-9)
    assert figure(tritone, "TD", "keys-bass") == pytest.approx(8**0.5)


def test_beats_in_which_one_track_rests_are_skipped_and_the_paper_skips_their_bar() -> None:
    score = [(KEYS, 0, 16, 60), (BASS, 0, 4, 36), (BASS, 8, 4, 42)]
    assert figure(score, "TD", "keys-bass") == pytest.approx(8**0.5 / 2)
    assert np.isnan(figure(score, "TD", "keys-bass", "paper"))
    assert figure([(KEYS, 0, 16, 60), (BASS, 0, 16, 60)], "TD", "keys-bass", "paper") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("interval", [-5, 1, 4])
def test_transposition_leaves_corrected_figures_as_they_are(interval: int) -> None:
    score = song(0, np.random.default_rng(0))
    moved = [(track, start, length, pitch + interval * (track != DRUMS)) for track, start, length, pitch in score]
    one, other = (measure(music.onset, music.hold) for music in (segments([score]), segments([moved])))
    np.testing.assert_allclose(one["corrected"].top, other["corrected"].top, atol=1e-9)
    np.testing.assert_array_equal(one["corrected"].bottom, other["corrected"].bottom)
    assert not np.allclose(one["paper"].top, other["paper"].top)


def test_holds_without_a_note_before_them_are_nothing() -> None:
    music = segments([C_MAJOR])
    music.hold[0, 0, KEYS, 6:9, 40] = True  # after a gap
    music.hold[0, 2, BASS, 0, 12] = True
    plain = segments([C_MAJOR])
    for name in ("corrected", "paper"):
        np.testing.assert_array_equal(
            measure(music.onset, music.hold)[name].top, measure(plain.onset, plain.hold)[name].top
        )


def test_another_order_of_tracks_and_another_lowest_pitch_are_understood() -> None:
    layout = Layout(("keys", "drums"), lowest_pitch=21, beats_per_bar=4)
    onset = np.zeros((1, 1, 2, 16, 88), bool)
    onset[0, 0, 0, 0, [3, 15, 22]] = True  # C1, C2, G2
    tally = measure(onset, np.zeros_like(onset), layout)["corrected"]
    assert dict(zip(tally.cells, tally.top[0], strict=True)) == {
        Cell("EB", "keys"): 0, Cell("EB", "drums"): 100, Cell("UPC", "keys"): 2,
        Cell("QN", "keys"): 0, Cell("DP", "drums"): 0,
    }  # fmt: skip


def sums_of(values: list[float], style: list[int] | None = None, metric: str = "UPC") -> PieceSums:
    """Pieces with one figure each."""
    top = np.array(values)[:, None]
    ones = np.ones(top.shape)
    kinds = np.array(style or [0] * len(values))
    return PieceSums((Cell(metric, "keys"),), kinds, np.arange(len(values)), top, ones, ones, ones[:, 0])


def test_distances_are_in_standard_deviations_between_real_pieces() -> None:
    training, held_out = sums_of([1.0, 3.0, 5.0]), sums_of([2.0, 4.0, 6.0])  # 2 apart around 3 and 4
    comparison = compare(sums_of([9.0]), training, held_out)
    assert comparison.generated[0] == pytest.approx(2.5)
    assert comparison.training[0] == pytest.approx(0.5)
    assert comparison.ratios[0] == pytest.approx(5)
    assert comparison.figures[0].tolist() == [9, 3, 4]


def test_where_pieces_hardly_differ_the_spread_has_a_floor() -> None:
    real = sums_of([2.0, 2.0, 2.0])
    assert compare(sums_of([2.5]), real, real).generated[0] == pytest.approx(2)  # 0.5 / 0.25


def test_a_cell_where_training_equals_held_out_is_judged_by_the_median() -> None:
    style = [0, 0, 1, 1, 2, 2]
    held_out = sums_of([1, 3, 1, 3, 1, 3], style)
    training = sums_of([1, 3, 2, 4, 2, 4], style)  # equal in style 0, half a deviation off in the others
    comparison = compare(sums_of([3, 3, 3], [0, 1, 2]), training, held_out)
    deviation = 2**0.5
    np.testing.assert_allclose(comparison.training, [0, 1 / deviation, 1 / deviation])
    np.testing.assert_allclose(comparison.ratios, [1, 1, 1])


def test_a_model_that_is_silent_where_real_music_sounds_is_infinitely_far() -> None:
    real = measure_pieces(songs(3))["corrected"]
    silent = measure_pieces(segments([[], []]))["corrected"]
    comparison = compare(silent, real, real)
    metrics = np.array([cell.metric for _, cell in comparison.cells])
    assert np.isinf(comparison.generated[metrics == "TD"]).all()
    assert comparison.generated[metrics == "EB"] == pytest.approx([20] * 5)  # 100 points / 5
    only_bass = compare(silent, real, real, roles=["bass"])
    assert {cell.tracks for _, cell in only_bass.cells} == {"bass"}


def test_cells_that_too_few_real_pieces_have_are_not_measured() -> None:
    lonely = measure_pieces(segments([C_MAJOR, [(BASS, 0, 4, 40)], [(BASS, 0, 4, 41)]]))["corrected"]
    names = {(cell.metric, cell.tracks) for _, cell in compare(lonely, lonely, lonely).cells}
    assert ("UPC", "bass") in names
    assert ("UPC", "keys") not in names


def test_cells_that_sound_in_few_held_out_segments_are_not_measured() -> None:
    def names(rare: int) -> set[str]:
        keys = [C_MAJOR if index < rare else [] for index in range(40)]
        sums = measure_pieces(segments([[(BASS, 0, 4, 40), *score] for score in keys]))["corrected"]
        return {cell.tracks for _, cell in compare(sums, sums, sums).cells if cell.metric == "UPC"}

    assert names(rare=3) == {"bass"}
    assert names(rare=4) == {"keys", "bass"}


def test_bootstrap_intervals_cover_the_truth_about_95_times_in_100() -> None:
    random = np.random.default_rng(0)
    covered = []
    for seed in range(300):
        sums = sums_of(random.normal(5, 2, size=40).tolist())
        draws = sums.means([0], resample(sums.style, sums.piece, 300, seed))[:, 0, 0]
        found = interval(float(sums.means([0])[0, 0]), draws)
        covered.append(found.low <= 5 <= found.high)
    assert 0.90 < np.mean(covered) < 0.98


def test_resampling_draws_all_rows_of_a_piece_together_and_keeps_the_number_in_each_style() -> None:
    style, piece = np.array([0, 1, 0, 1, 2, 2]), np.array([7, 7, 8, 8, 9, 5])
    weights = resample(style, piece, 50, 0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
    np.testing.assert_array_equal(weights[:, 2], weights[:, 3])
    np.testing.assert_array_equal(weights[:, [0, 2]].sum(axis=1), 2)
    np.testing.assert_array_equal(weights[:, [4, 5]].sum(axis=1), 2)
    assert weights.max() == 2


def test_shuffled_tracks_come_from_other_pieces_of_the_same_style() -> None:
    style, piece = np.repeat([0, 1, 2], 60), np.repeat(np.arange(18), 10)
    piece[120:] = 99  # style 2 is one piece
    source = shuffle_tracks(style, piece, 5, seed=0)
    assert (style[source] == style[:, None]).all()
    assert all(len(set(row)) == 5 for row in piece[source[:120]])
    assert (source[:120] == np.arange(120)[:, None]).sum(axis=1).tolist() == [1] * 120  # one track is its own
    assert (source[120:] == np.arange(120, 180)[:, None]).all()
    np.testing.assert_array_equal(source, shuffle_tracks(style, piece, 5, seed=0))
    few = shuffle_tracks(np.zeros(4, int), np.array([0, 0, 1, 1]), 3, seed=1)
    assert all(len(set(row)) == 2 for row in np.array([0, 0, 1, 1])[few])


def shuffled(music: Segments, seed: int) -> Segments:
    return mix_tracks(music, shuffle_tracks(music.style, music.piece, 5, seed=seed))


def test_tracks_that_agree_are_told_from_shuffled_ones_by_tonal_distance() -> None:
    real, joint = songs(30, seed=1), songs(30, seed=2)
    assert distance_of(shuffled(real, 0)) > distance_of(real) + 0.2
    gap = tonal_gap(measure_pieces(joint)["corrected"], real, "corrected", draws=200)
    assert gap.generated.value < gap.shuffled.value
    assert gap.p < 0.01
    mixed = tonal_gap(measure_pieces(shuffled(joint, 3))["corrected"], real, "corrected", draws=200)
    assert mixed.p > 0.05


def distance_of(music: Segments) -> float:
    tally = measure(music.onset, music.hold)["corrected"]
    chosen = [index for index, cell in enumerate(tally.cells) if cell.metric == "TD"]
    return float(tally.top[:, chosen].sum() / tally.bottom[:, chosen].sum())


def test_paired_differences_are_tested_by_piece() -> None:
    random = np.random.default_rng(0)
    assert paired_p(random.normal(1, 1, 40), np.arange(40)) < 0.001
    assert paired_p(random.normal(-1, 1, 40), np.arange(40)) > 0.99
    assert paired_p(np.ones(40), np.zeros(40, int)) == pytest.approx(0.5, abs=0.02)  # one piece proves nothing
    assert np.isnan(paired_p(np.full(3, np.nan), np.arange(3)))


def transposed(score: list[Note], interval: int) -> list[Note]:
    return [(track, start, length, pitch + interval * (track != DRUMS)) for track, start, length, pitch in score]


def bar_of(score: list[Note], bar: int, to: int) -> list[Note]:
    """One bar of a score, at the place of another."""
    return [(track, start % 16 + 16 * to, length, pitch) for track, start, length, pitch in score if start // 16 == bar]


def test_a_transposed_bar_is_found_to_be_copied() -> None:
    known = song(0, np.random.default_rng(1))
    own: list[Note] = [(GUITAR, 16 + 3 * index, 2, 50 + index) for index in range(4)]
    planted = transposed(bar_of(known, 2, to=3), 5)
    moved_drums = [(track, start, length, pitch + 1 * (track == DRUMS)) for track, start, length, pitch in planted]
    found = CopyDetector(part(segments([known])), 4).find(segments([[*own, *planted], [*own, *moved_drums], own, []]))
    np.testing.assert_array_equal(found.bars, [0.5, 0, 0, np.nan])  # silent bars do not count
    np.testing.assert_array_equal(found.run, [1, 0, 0, 0])


def test_a_run_is_copied_only_if_all_its_bars_are_moved_by_one_interval() -> None:
    random = np.random.default_rng(2)
    known = [note for bar in range(4) for note in bar_of(song(bar, random), 0, to=bar)]
    known += [(KEYS, 16 * bar + 14, 1, 70 + bar) for bar in range(4)]  # no two bars are alike
    together = transposed([*bar_of(known, 1, to=0), *bar_of(known, 2, to=1)], 3)
    apart = [*transposed(bar_of(known, 1, to=0), 3), *transposed(bar_of(known, 2, to=1), 4)]
    backwards = [*bar_of(known, 2, to=0), *bar_of(known, 1, to=1)]
    detector = CopyDetector(part(segments([known])), 4)
    found = detector.find(segments([together, apart, backwards, transposed(known, -2)]))
    np.testing.assert_array_equal(found.bars, 1)
    np.testing.assert_array_equal(found.run, [2, 1, 1, 4])


def test_a_copy_with_other_holds_is_no_copy() -> None:
    known: list[Note] = [(KEYS, 0, 4, 60), (KEYS, 8, 2, 64)]
    found = CopyDetector(part(segments([known])), 4).find(segments([[(KEYS, 0, 3, 60), (KEYS, 8, 2, 64)]]))
    assert found.bars.tolist() == [0]


def test_near_copies_are_nearer_than_held_out_music() -> None:
    training, held_out = songs(20, seed=3), songs(100, seed=4)
    nearly = segments([[*song(0, np.random.default_rng(9)), (STRINGS, 5, 1, 90)]])
    original = segments([transposed(song(0, np.random.default_rng(9)), 4)])
    distance = nearest_distances(nearly, part(original))
    notes = int(original.onset.sum())
    assert distance[0] == pytest.approx(1 / (notes + 1))
    theirs = nearest_distances(held_out, part(training))
    own, reference = near_copy_rates(np.zeros(5), np.maximum(theirs, 0.05), np.zeros(5, int), held_out.style)
    assert own == 1
    assert 0.01 <= reference < 1
    assert np.isnan(nearest_distances(segments([[]]), part(original))[0])


def test_features_of_a_track_by_hand() -> None:
    music = segments([[(KEYS, 0, 4, 60), (KEYS, 4, 2, 64), (KEYS, 8, 2, 60)], [(KEYS, 0, 1, 60)]])
    found = {name: values[0] for name, values in features(music, KEYS).items()}
    assert {name: len(values) for name, values in features(music, KEYS).items()}["note_count"] == 1  # one has one note
    assert found["pitch_count"] == 2
    assert found["pitch_range"] == 4
    assert found["pitch_interval"] == 4
    assert found["note_count"] == 3
    assert found["inter_onset_interval"] == 4
    assert found["pitch_class_histogram"][[0, 4]] == pytest.approx([6 / 8, 2 / 8])
    assert found["pitch_class_transitions"].reshape(12, 12)[[0, 4], [4, 0]] == pytest.approx([0.5, 0.5])
    assert found["note_length_histogram"][[1, 3]] == pytest.approx([2 / 3, 1 / 3])  # of 1, 2, 3, 4 … steps
    assert found["note_length_transitions"].reshape(8, 8)[[3, 1], [1, 1]] == pytest.approx([0.5, 0.5])


def test_sets_that_cannot_be_told_apart_overlap_and_others_do_not() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, (200, 3)), random.normal(0, 1, (200, 3))
    assert overlap_area(one, other) > 0.95
    assert overlap_area(one + 20, other) < 0.05
    areas = overlap_areas(songs(40, seed=5), songs(40, seed=6))
    assert min(areas.values()) > 0.9
    high = segments([[(track, start, length, 84 + pitch % 12 * (track == KEYS)) for track, start, length, pitch in
                      song(0, random)] for _ in range(40)])  # fmt: skip
    assert overlap_areas(high, songs(40, seed=6))["pitch_count"] < 0.7


def test_groove_and_scale_consistency() -> None:
    steady: list[Note] = [(DRUMS, step, 1, 36) for step in range(0, 64, 4)]
    odd: list[Note] = [(DRUMS, step, 1, 36) for step in (0, 4, 8, 12, 17, 21, 25, 29)]
    np.testing.assert_allclose(groove_consistency(segments([steady], bars=4)), 1)
    np.testing.assert_allclose(groove_consistency(segments([odd], bars=2)), 0.5)  # 8 of 16 steps differ
    chromatic: list[Note] = [(KEYS, index, 1, 60 + index) for index in range(12)]
    d_major: list[Note] = [(KEYS, index, 1, 62 + step) for index, step in enumerate((0, 2, 4, 5, 7, 9, 11))]
    np.testing.assert_allclose(scale_consistency(segments([d_major, chromatic, steady])), [1, 7 / 12, np.nan])


def test_density_follows_tempo_within_styles() -> None:
    counts = [(0, 100.0, 4), (0, 110.0, 8), (0, 120.0, 12), (1, 200.0, 1), (1, 210.0, 2), (1, 220.0, 9)]
    scores = [[(DRUMS, 4 * index, 1, 36) for index in range(count)] for _, _, count in counts]
    music = segments(scores, [style for style, *_ in counts], tempo_bpm=[tempo for _, tempo, _ in counts])
    assert onsets_per_bar(music).tolist() == [1, 2, 3, 0.25, 0.5, 2.25]
    response = tempo_response(music, draws=50)
    assert response.slope.value == pytest.approx(1)  # a note a bar more for 10 bpm more, though style 1 is sparser
    assert response.correlation.value == pytest.approx(1)
    reverse = segments(scores[::-1], [1, 1, 1, 0, 0, 0], tempo_bpm=[tempo for _, tempo, _ in counts])
    assert tempo_response(reverse, draws=50).correlation.value == pytest.approx(-1)
    more = segments([*scores, scores[2]], [0, 0, 0, 1, 1, 1, 0], tempo_bpm=[*(tempo for _, tempo, _ in counts), 0])
    assert tempo_response(more, draws=50).correlation.value == pytest.approx(1)  # an unknown tempo is none
    unknown = segments(scores, tempo_bpm=[0] * 6)
    assert np.isnan(tempo_response(unknown, draws=10).slope.value)
