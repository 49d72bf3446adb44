"""The music networks: keys, what tracks share, what conditions and given tracks change, and what teaches them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from muserve.configuration import build
from muserve.v1 import manifest_pb2
from muserve_export.bundling.graphs import GraphSource, write_graphs
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import DRUMS, TRACKS
from muserve_export.families.music.export import GeneratorGraph
from muserve_export.families.music.model import latent_sizes, make_generator
from muserve_export.families.music.networks.keys import Keys
from muserve_export.families.music.networks.layers import CONDITION_WIDTH, Block, ConditionEmbedding, Conditions, Shape
from muserve_export.families.music.networks.notes import ONSET_THRESHOLD, binarise, weigh
from muserve_export.families.music.networks.phrases import mismatched
from muserve_export.families.music.networks.temporal import LatentSample, TemporalGenerator

SMALL = {
    "constant_latent_size": 3, "bar_latent_size": 2, "bar_width": 12, "beat_width": 12, "step_width": 12,
    "track_width": 8, "discriminator_width": 12, "batch_size": 6, "min_tracks": 1,
}  # fmt: skip
TINY = Shape(tracks=5, styles=2, bars=4, steps_per_beat=4, lowest_pitch=24, pitches=84)


def in_c(root: int = 0) -> torch.Tensor:
    """A cadence in C major, or as many semitones higher, as a phrase with a drum: [1, track, channel, step, pitch]."""
    rolls = torch.zeros(1, 5, 2, 64, 84)
    rolls[0, DRUMS, 0, ::4, 12] = 1
    for bar, chord in enumerate(((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7))):
        for pitch in chord:
            rolls[0, 1, 0, 16 * bar, 36 + root + pitch] = 1
            rolls[0, 1, 1, 16 * bar + 1 : 16 * bar + 16, 36 + root + pitch] = 1
        rolls[0, 3, 0, 16 * bar, 12 + root + chord[0]] = 1
    return rolls


@pytest.mark.parametrize("root", range(12))
def test_a_phrase_is_moved_to_c_from_whatever_key_it_is_in_and_back(root: int) -> None:
    keys = Keys(TINY, drums=DRUMS, together=True)
    rolls = in_c(root)
    key = keys.find(rolls, torch.ones(1, 5))
    assert key.tolist() == [[0, root, root, root, root]]
    moved = keys.to_c(rolls, key)
    chroma = (moved[0, 1].sum(dim=(0, 1)) @ keys.fold).nonzero().flatten().tolist()
    assert chroma == [0, 2, 4, 5, 7, 9, 11]
    assert torch.equal(moved[0, DRUMS], rolls[0, DRUMS])
    back = keys.from_c(moved, key)
    assert torch.equal(back.sum(dim=(2, 3)) @ keys.fold, rolls.sum(dim=(2, 3)) @ keys.fold)


def test_a_minor_key_goes_with_its_relative_major() -> None:
    keys = Keys(TINY, drums=DRUMS, together=True)
    rolls = torch.zeros(1, 5, 2, 64, 84)
    for step, pitch in enumerate((9, 12, 16, 14, 12, 11, 8, 9, 9)):  # A minor with its leading note
        rolls[0, 1, 0, step, 24 + pitch] = 1
    assert keys.find(rolls, torch.ones(1, 5)).tolist() == [[0] * 5]


def test_what_is_not_heard_and_drums_say_nothing_of_the_key() -> None:
    keys = Keys(TINY, drums=DRUMS, together=True)
    rolls = in_c(3)
    rolls[0, 2] = in_c(6)[0, 1]
    heard = torch.tensor([[1.0, 0, 1, 0, 0]])
    assert keys.find(rolls, heard)[0, 1].item() == 6
    assert keys.find(rolls, torch.tensor([[1.0, 0, 0, 0, 0]]))[0, 1].item() == 0


def test_jamming_finds_and_draws_a_key_a_track() -> None:
    keys = Keys(TINY, drums=DRUMS, together=False)
    rolls = in_c(3)
    rolls[0, 2] = in_c(6)[0, 1]
    assert keys.find(rolls, torch.ones(1, 5))[0, 1:3].tolist() == [3, 6]
    torch.manual_seed(0)
    drawn = keys.drawn(torch.randn(500, keys.noise_size))
    assert set(drawn[:, 1].tolist()) == set(range(12))
    assert (drawn[:, 1] != drawn[:, 2]).any()
    assert (drawn[:, DRUMS] == 0).all()


def test_keys_are_drawn_alike_for_all_tracks_and_each_as_often() -> None:
    keys = Keys(TINY, drums=DRUMS, together=True)
    torch.manual_seed(0)
    drawn = keys.drawn(torch.randn(6000, keys.noise_size))
    assert torch.equal(drawn[:, 1], drawn[:, 4])
    assert (torch.bincount(drawn[:, 1], minlength=12) - 500).abs().max() < 110


def test_a_pitch_that_would_leave_the_range_stays_in_its_class_and_a_note_never_begins_and_holds() -> None:
    keys = Keys(TINY, drums=DRUMS, together=True)
    rolls = torch.zeros(1, 5, 2, 64, 84)
    rolls[0, 1, 0, 0, [0, 1, 83]] = 1
    rolls[0, 1, 1, 0, 2] = 1
    for key in range(12):
        moved = keys.from_c(rolls, torch.full((1, 5), key))
        sounding = moved[0, 1].amax(dim=0)[0].nonzero().flatten()
        assert {pitch % 12 for pitch in sounding.tolist()} == {(pitch + key) % 12 for pitch in (0, 1, 2, 83)}
        assert moved.sum(dim=2).max() <= 1


@pytest.mark.parametrize("architecture", ["hybrid", "jamming"])
def test_tracks_hear_each_other_only_in_the_hybrid(architecture: str) -> None:
    """The shared latent moves all tracks; one track's own moves that track alone."""
    share = "0.5" if architecture == "hybrid" else "0"
    config = build(MusicConfig, {**SMALL, "architecture": architecture, "given_share": share})
    torch.manual_seed(0)
    generator = make_generator(config, TINY)
    constant_size, bar_size = latent_sizes(config, TINY)
    constant, bars = torch.randn(1, constant_size), torch.randn(1, 4, bar_size)
    conditions = Conditions(torch.zeros(1, dtype=torch.int64), torch.full((1,), 120.0), torch.full((1,), -1.0))

    def write(latents: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = generator(latents, bars, conditions, from_noise=False)
        return logits

    before = write(constant)
    assert before.shape == (1, 5, 2, 64, 84)
    moved = constant.clone()
    moved[:, : config.constant_latent_size] += 1
    changed = [not torch.equal(one, other) for one, other in zip(before[0], write(moved)[0], strict=True)]
    assert changed == ([True] * 5 if architecture == "hybrid" else [True, False, False, False, False])
    own = constant.clone()
    own[:, -config.constant_latent_size :] += 1
    changed = [not torch.equal(one, other) for one, other in zip(before[0], write(own)[0], strict=True)]
    assert changed == [False, False, False, False, True]


def test_what_a_piece_keeps_does_not_depend_on_what_its_bars_move() -> None:
    """The phrases of a longer piece have the same constant noise, and other noise for their bars."""
    config = build(MusicConfig, SMALL)
    torch.manual_seed(0)
    generator = make_generator(config, TINY)
    constant_size, bar_size = latent_sizes(config, TINY)
    constant, bars = torch.randn(1, constant_size).expand(2, -1), torch.randn(2, 4, bar_size)
    conditions = Conditions(torch.zeros(2, dtype=torch.int64), torch.full((2,), 120.0), torch.full((2,), -1.0))
    found = torch.zeros(2, 2, constant_size), torch.zeros(2, 2, 4, bar_size)
    given = torch.zeros(2, 5, 2, 64, 84), torch.zeros(2, 5)
    kept, moved, _ = generator.imagine((constant, bars), *found, conditions, *given)
    torch.testing.assert_close(kept[0], kept[1])
    assert not torch.equal(moved[0], moved[1])


def test_every_condition_and_given_track_changes_what_is_written() -> None:
    config = build(MusicConfig, SMALL)
    torch.manual_seed(0)
    generator = make_generator(config, TINY)
    constant_size, bar_size = latent_sizes(config, TINY)
    latents = torch.randn(1, constant_size), torch.randn(1, 4, bar_size)

    def write(style: int, tempo: float, density: float, *given: torch.Tensor) -> torch.Tensor:
        conditions = Conditions(torch.tensor([style]), torch.tensor([tempo]), torch.tensor([density]))
        logits: torch.Tensor = generator(*latents, conditions, *given)
        return logits

    plain = write(0, 120.0, -1.0)
    for other in (write(1, 120.0, -1.0), write(0, 90.0, -1.0), write(0, 0.0, -1.0), write(0, 120.0, 0.9)):
        assert not torch.equal(plain, other)
    bass = torch.zeros(1, 5, 2, 64, 84)
    bass[0, 3, 0, ::8, 10] = 1
    only_bass = torch.tensor([[0.0, 0, 0, 1, 0]])
    heard = write(0, 120.0, -1.0, bass, only_bass)
    assert not torch.equal(heard, plain)
    assert not torch.equal(heard, write(0, 120.0, -1.0, bass.roll(1, dims=4), only_bass))
    unheard = bass.clone()
    unheard[0, 1, 0, :, 40] = 1
    assert torch.equal(heard, write(0, 120.0, -1.0, unheard, only_bass)), "a track that is not given is not heard"
    assert torch.equal(plain, write(0, 120.0, -1.0, bass, torch.zeros(1, 5))), "nothing given is as the generator alone"


def test_what_is_imagined_is_as_likely_as_the_noise_that_it_is_made_of() -> None:
    torch.manual_seed(0)
    config = build(MusicConfig, SMALL)
    temporal = TemporalGenerator(config, TINY, heard=7)
    constant, moved = torch.randn(2, 18), torch.randn(2, 4, 12)
    conditions = Conditions(torch.zeros(2, dtype=torch.int64), torch.full((2,), 120.0), torch.full((2,), -1.0))
    heard = torch.randn(2, 7, 4)
    begun = temporal(constant, moved, conditions, heard)
    assert torch.equal(begun[0], constant), "untrained it gives the noise back"
    assert torch.equal(begun[1], moved)
    for part in (*temporal.kept_parts, *temporal.moved_parts):
        means, _ = part[-1].weight.chunk(2)  # deviations stay 1
        torch.nn.init.normal_(means, std=0.5)
    imagined = temporal(constant, moved, conditions, heard)
    assert (imagined[0] - constant).abs().mean() > 0.05
    assert (imagined[1] - moved).abs().mean() > 0.05
    kept, bars = (LatentSample(latents, torch.full_like(latents, -20.0), latents) for latents in imagined)
    squares = constant.square().sum(1) + moved.square().sum((1, 2))
    wanted = 0.5 * (squares + (20 - 1) * (18 + 48))
    assert torch.allclose(temporal.divergence(kept, bars, conditions, heard), wanted, rtol=1e-4)
    other = temporal(constant, moved + 1, conditions, heard)
    assert torch.equal(other[0], imagined[0]), "what is kept does not depend on what moves"


def _logits(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.logit(probabilities.clamp(1e-6, 1 - 1e-6))


def test_sure_networks_are_played_as_they_are_written() -> None:
    torch.manual_seed(0)
    onset = torch.rand(2, 3, 16, 40) < 0.1
    hold = torch.zeros_like(onset)
    for step in range(1, 16):  # each note sounds on or ends
        sounds = onset[:, :, step - 1] | hold[:, :, step - 1]
        hold[:, :, step] = sounds & ~onset[:, :, step] & (torch.rand(2, 3, 40) < 0.6)
    rolls = torch.stack([onset, hold], dim=2).float()
    assert torch.equal(binarise(_logits(rolls * 0.96 + 0.001)), rolls)


def test_a_note_of_unsure_pitch_is_the_likeliest_and_lasts_as_long_as_such_notes_do() -> None:
    probabilities = torch.zeros(1, 1, 2, 8, 10)
    pitches = torch.tensor([0.0, 0.2, 0.3, 0.2, 0.15, 0.1, 0, 0, 0, 0])  # 0.95 notes, none above one half
    probabilities[0, 0, 0, 2] = pitches
    probabilities[0, 0, 1, 3:5] = 0.9 * pitches  # three steps are likely, more are not
    probabilities[0, 0, 1, 5] = 0.1 * pitches
    rolls = binarise(_logits(probabilities))
    assert rolls[0, 0, 0].nonzero().tolist() == [[2, 2]]
    assert rolls[0, 0, 1].nonzero().tolist() == [[3, 2], [4, 2]]
    graded = weigh(_logits(probabilities))
    assert bool(((graded[:, :, 0] > ONSET_THRESHOLD) == (rolls[:, :, 0] > 0)).all()), "servers read the same notes"
    silent = torch.full((1, 1, 2, 8, 10), 0.04)
    assert not binarise(_logits(silent)).any(), "0.4 notes are none"


def test_what_holds_begins_first() -> None:
    probabilities = torch.zeros(1, 1, 2, 4, 3)
    probabilities[0, 0, 1, :, 0] = 0.9  # sounds on from nothing
    assert not binarise(_logits(probabilities)).any()
    assert float(weigh(_logits(probabilities))[0, 0, 1, 0, 0]) == pytest.approx(0.9), (
        "a longer piece may begin it before"
    )


def test_the_others_listen_to_the_track_that_leads_and_it_stays_as_it_was_written() -> None:
    config = build(MusicConfig, SMALL, {"given_share": 0.5})
    torch.manual_seed(0)
    generator = make_generator(config, TINY).eval()
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    keys, leader = Keys(TINY, drums=DRUMS, together=True), TRACKS.index("keys")
    constant_size, bar_size = latent_sizes(config, TINY)
    asked = (
        torch.randn(4, constant_size + keys.noise_size), torch.randn(4, TINY.bars, bar_size),
        torch.tensor([0, 1, 0, 1]), torch.full((4,), 120.0), torch.full((4,), -1.0),
    )  # fmt: skip
    with torch.no_grad():
        alone, led = (GeneratorGraph(generator, keys, TINY, track)(*asked) for track in (None, leader))
    for before, after in zip(alone, led, strict=True):  # [batch, bar, track, step, pitch]
        assert torch.equal(before[:, :, leader], after[:, :, leader])
        for track in range(TINY.tracks):
            assert torch.equal(before[:, :, track], after[:, :, track]) == (track == leader)


def test_gradients_pass_what_is_rounded() -> None:
    logits = torch.tensor([-4.0, -0.1, 0.1, 4.0]).reshape(1, 1, 1, 1, 4).expand(1, 1, 2, 3, 4).clone().requires_grad_()
    rounded = binarise(logits)
    assert set(rounded.unique().tolist()) == {0.0, 1.0}
    rounded.sum().backward()
    assert logits.grad is not None
    assert (logits.grad > 0.02).all()


def test_mismatched_rows_mix_pieces_of_one_style() -> None:
    torch.manual_seed(0)
    real = torch.zeros(4, 3, 2, 2, 8)
    for row in range(4):
        real[row, :, 0, :, row] = 1
    style = torch.tensor([0, 0, 1, 2])
    seen = set()
    for _ in range(40):
        mixed, differs = mismatched(real, style)
        owners = mixed[:, :, 0, 0].argmax(dim=2)  # [row, track]: whose track it is
        assert torch.equal(owners[2:], torch.tensor([[2] * 3, [3] * 3])), "alone in their style"
        assert differs[2:].tolist() == [0, 0]
        for row in range(2):
            tracks = owners[row].tolist()
            assert set(tracks) <= {0, 1}
            assert bool(differs[row]) == (set(tracks) == {0, 1})
            seen.add(tuple(tracks))
    assert len(seen) > 4


def test_mismatched_rows_are_those_whose_notes_differ_not_their_probabilities() -> None:
    torch.manual_seed(0)
    real = torch.zeros(2, 3, 2, 2, 8)
    real[:, 0, 0, :, 3] = 1  # the only track that sounds, alike in both
    unsure = real * 0.9 + torch.rand_like(real) * 0.05
    for _ in range(20):
        assert not mismatched(unsure, torch.zeros(2, dtype=torch.int64))[1].any()


STANDARD = Shape(tracks=5, styles=14, bars=4, steps_per_beat=4, lowest_pitch=24, pitches=84)


class _Imagined(nn.Module):
    """Noise to latents, a condition and features, at the widths that ship."""

    def __init__(self) -> None:
        super().__init__()
        config = MusicConfig()
        self.temporal = TemporalGenerator(config, STANDARD, heard=8)
        for parameter in self.temporal.parameters():
            nn.init.normal_(parameter, std=0.1)  # as it begins it ignores what it is given
        self.embedding = ConditionEmbedding(STANDARD.styles)
        self.block = Block(self.temporal.sizes[1], CONDITION_WIDTH)

    def forward(self, constant: Tensor, moved: Tensor) -> tuple[Tensor, ...]:
        style = torch.zeros_like(constant[:, 0]).long()
        conditions = Conditions(style, 90 + constant[:, 0], constant[:, 1])
        embedded, features = self.embedding(conditions), moved.transpose(1, 2)
        made = self.temporal(constant, moved, conditions, features[:, :8])
        return *made, embedded, self.block(features, embedded)


def test_a_row_alone_gets_the_bits_that_it_gets_among_others(tmp_path: Path) -> None:
    module = _Imagined().eval()
    shapes = {"constant": module.temporal.sizes[:1], "moved": (STANDARD.bars, module.temporal.sizes[1])}
    (graph,) = write_graphs(
        [
            GraphSource(
                "temporal",
                module,
                inputs=tuple(_float32(name, *shape) for name, shape in shapes.items()),
                outputs=(
                    *(_float32(f"made_{name}", *shape) for name, shape in shapes.items()),
                    _float32("embedded", CONDITION_WIDTH),
                    _float32("features", *reversed(shapes["moved"])),
                ),
                draw=lambda rows, random: tuple(
                    random.standard_normal((rows, *shape), dtype=np.float32) for shape in shapes.values()
                ),
                max_batch_rows=16,
                tolerance=1e-3,
            )
        ],
        tmp_path,
    )
    assert graph.batch_invariance.exact


def _float32(name: str, *shape: int) -> manifest_pb2.TensorSpec:
    return manifest_pb2.TensorSpec(name=name, dtype=manifest_pb2.DATA_TYPE_FLOAT32, shape=[-1, *shape])
