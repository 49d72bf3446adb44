"""The music family: folders of MIDI files, a split that shares nothing, the networks, every recipe, and bundles."""

from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from muserve.bundle import read_bundle
from muserve.configuration import ConfigurationError, build, read_toml
from muserve_export.errors import DataError
from muserve_export.families import recipe_names, recipe_path
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import DRUMS, TRACKS, as_rolls, load_data
from muserve_export.families.music.model import make_shape
from muserve_export.families.music.sources.folder import split_names
from muserve_export.families.music.train import MusicLearner
from muserve_export.families.music_tutorial.data import load_data as load_chords
from muserve_export.families.music_tutorial.train import ChordLearner

from .conftest import Command, train_in_two_processes

BARS, PIECES = 8, 10


def write_piece(path: Path, root: int, *, bars: int = BARS, tempo_bpm: float | None = 100.0, metre: int = 4) -> None:
    """Writes drums, a bass on the root, and a chord a bar that moves with `root`."""
    file = mido.MidiFile(ticks_per_beat=96)
    conductor = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=metre, denominator=4)])
    if tempo_bpm:
        conductor.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo_bpm)))
    file.tracks.append(conductor)
    for channel, program, pitches in ((9, 0, (36,)), (0, 33, (28 + root,)), (1, 0, (60 + root, 64 + root, 67 + root))):
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        for bar in range(bars):
            step = bar % 4  # so that bars differ
            for pitch in pitches:
                track.append(mido.Message("note_on", channel=channel, note=pitch + step, velocity=80))
            for index, pitch in enumerate(pitches):
                time = 96 * metre if index == 0 else 0
                track.append(mido.Message("note_off", channel=channel, note=pitch + step, time=time))
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


@pytest.fixture(scope="session")
def midi_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own data: ten pieces in two styles, one of them at another tempo and with notes twice as long."""
    folder = tmp_path_factory.mktemp("songs")
    for index in range(PIECES):
        write_piece(folder / "fast" / f"song-{index}.mid", index, tempo_bpm=160.0)
        write_piece(folder / "slow" / f"air-{index}.mid", index, tempo_bpm=None, bars=BARS + index % 2)
    return folder


def test_a_folder_tree_becomes_rolls_with_tempo_beside(midi_tree: Path) -> None:
    data = load_data(build(MusicConfig, {"data": str(midi_tree)}))
    assert data.styles == ("fast", "slow")
    fast = data.training.style == 0
    assert set(data.training.tempo_bpm[fast].tolist()) == {160.0}
    assert set(data.training.tempo_bpm[~fast].tolist()) == {0.0}, "a piece without a tempo has none"
    onset, hold = data.training.rolls(np.arange(1))
    assert onset.shape == (1, 4, len(TRACKS), 16, 84)
    assert [bool(onset[0, :, track].any()) for track in range(5)] == [True, True, False, True, False]
    assert not hold[0, :, DRUMS].any()
    assert hold[0, 0, 3].sum() == 15, "a note of a bar is one beginning and fifteen steps of going on"
    assert data.programs[0].tolist() == [0, 0, 0, 33, 0]


def test_a_piece_is_in_one_part_and_no_segment_in_two(tmp_path: Path) -> None:
    """A chart in two styles is one piece; and pieces that are the same in another key are not held out."""
    for index in range(PIECES):
        write_piece(tmp_path / "one" / f"chart-{index}.mid", index)
        write_piece(tmp_path / "two" / f"chart-{index}.mid", index)
    data = load_data(build(MusicConfig, {"data": str(tmp_path)}))
    names = [set(part.piece_names) for part in (data.training, data.validation, data.test)]
    assert [len(part) for part in names] == [7, 1, 2]
    assert not names[0] & names[1] | names[0] & names[2] | names[1] & names[2]
    assert len(data.training) > 0
    assert len(data.validation) == len(data.test) == 0, "all charts are one, in ten keys"


def test_the_split_is_the_same_in_any_order_and_another_with_another_seed() -> None:
    names = {f"piece {index}": {index % 2} for index in range(40)}
    parts = split_names(names, 0)
    assert parts == split_names(dict(reversed(names.items())), 0)
    assert parts != split_names(names, 1)
    for style in (0, 1):
        held_out = [part for name, part in parts.items() if names[name] == {style}]
        assert (held_out.count("test"), held_out.count("validation")) == (4, 2)


def test_density_is_the_rank_among_the_styles_own_segments(tmp_path: Path) -> None:
    for index in range(4):
        write_piece(tmp_path / "style" / f"{index}.mid", index * 2, bars=4 + index)
    training = load_data(build(MusicConfig, {"data": str(tmp_path)})).training
    assert training.density.min() >= 0
    assert training.density.max() <= 1
    assert training.density.mean() == pytest.approx(0.5, abs=0.01)


def test_only_bars_of_four_quarters_are_learnt_from(tmp_path: Path) -> None:
    write_piece(tmp_path / "style" / "waltz.mid", 0, metre=3)
    write_piece(tmp_path / "style" / "march.mid", 0)
    (tmp_path / "style" / "broken.mid").write_bytes(b"MThd nothing")
    data = load_data(build(MusicConfig, {"data": str(tmp_path)}))
    assert data.training.piece_names == ("march",)
    assert sorted(data.skipped) == ["style/broken.mid", "style/waltz.mid"]
    assert "4/4" in data.skipped["style/waltz.mid"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "is not a folder"),
        ((), "has no subfolders"),
        (("style/readme.txt",), "has no MIDI files"),
        (("style/broken.mid",), "no file with 4 bars of 4/4"),
    ],
)
def test_data_of_no_use_is_refused(tmp_path: Path, files: tuple[str, ...] | None, message: str) -> None:
    folder = tmp_path / "data"
    if files is not None:
        folder.mkdir()
    for name in files or ():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"MThd")
    with pytest.raises(DataError, match=message):
        load_data(build(MusicConfig, {"data": str(folder)}))


@pytest.mark.parametrize("recipe", recipe_names("music"))
def test_every_recipe_takes_a_step(recipe: str, midi_tree: Path) -> None:
    """With its own losses and architecture; the batch is small, and so is the paper's network."""
    values = read_toml(recipe_path("music", recipe))
    config = build(MusicConfig, values, {"data": str(midi_tree), "batch_size": "4", "min_tracks": "1"})
    fabric = Fabric(accelerator="cpu", devices=1)
    learner: ChordLearner | MusicLearner
    if config.architecture == "dense":
        items = load_chords(config)
        learner, batch = ChordLearner(fabric, config), items.batch(torch.arange(4))
    else:
        data = load_data(config)
        learner = MusicLearner(fabric, config, make_shape(config, data))
        batch = data.training.batch(torch.arange(4))
    before = {name: _weights(module) for name, module in learner.modules().items()}
    for step in (1, 2):  # what is learnt first, and what after it
        losses = learner.step(batch, step, 2)
        assert all(torch.isfinite(loss) for loss in losses.values())
    for name, module in learner.modules().items():
        assert not torch.equal(_weights(module), before[name]), f"{name} learnt nothing"


def _weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()]).clone()


def test_the_tutorial_is_the_published_one(midi_tree: Path) -> None:
    config = build(MusicConfig, read_toml(recipe_path("music", "tutorial")), {"data": str(midi_tree)})
    learner = ChordLearner(Fabric(accelerator="cpu", devices=1), config)
    sizes = {
        name: [tuple(layer.weight.shape) for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
        for name, module in learner.modules().items()
    }
    assert sizes["generator"] == [(256, 100), (512, 256), (1024, 512), (88, 1024)]
    assert sizes["discriminator"] == [(1024, 88), (512, 1024), (256, 512), (1, 256)]
    assert (config.epochs, config.learning_rate, config.loss) == (100, 2e-4, "cross_entropy")


def test_chords_are_the_notes_that_begin_together_without_waiting(midi_tree: Path) -> None:
    data = load_chords(build(MusicConfig, {"data": str(midi_tree), "lowest_pitch": "21", "pitches": "88"}))
    sizes = np.unique(data.chords.sum(axis=1)).tolist()
    assert sizes == [1, 3], "basses and triads; drums are no chords"
    (batch,) = data.batch(torch.arange(2))
    assert set(batch.unique().tolist()) == {-1.0, 1.0}


def test_contradictions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="given_share"):
        build(MusicConfig, {"architecture": "jamming"})
    with pytest.raises(ConfigurationError, match="127"):
        build(MusicConfig, {"lowest_pitch": "60"})


def test_two_processes_learn_both_parts_of_a_run(midi_tree: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    train_in_two_processes("music", "--recipe", "tiny", "--data", str(midi_tree), "--out", run)


def test_only_what_is_imagined_learns_after_reconstruction(midi_tree: Path) -> None:
    values = read_toml(recipe_path("music", "tiny"))
    config = build(MusicConfig, values, {"data": str(midi_tree)})
    data = load_data(config)
    learner = MusicLearner(Fabric(accelerator="cpu", devices=1), config, make_shape(config, data))
    batch = data.training.batch(torch.arange(4))
    learner.step(batch, 1, 2)
    modules = learner.modules()
    written = {name: value.clone() for name, value in modules["generator_average"].state_dict().items()}
    posterior, discriminator = _weights(modules["posterior"]), _weights(modules["discriminator"])
    learner.step(batch, 2, 2)
    for name, value in modules["generator"].module.state_dict().items():
        assert "temporal." in name or torch.equal(value, written[name]), f"{name} is not the average of the first part"
    assert torch.equal(_weights(modules["posterior"]), posterior)
    assert not torch.equal(_weights(modules["discriminator"]), discriminator)


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(
    midi_tree: Path, tmp_path: Path, export_command: Command
) -> None:
    words = ("train", "music", "--recipe", "tiny", "--data", midi_tree)
    export_command(*words, "--out", tmp_path / "whole")
    export_command(*words, "--out", tmp_path / "parts")
    for path in sorted((tmp_path / "parts" / "checkpoints").glob("*"))[1:]:
        path.unlink()
    export_command("train", "music", "--out", tmp_path / "parts", "--resume")
    whole, parts = (
        torch.load(tmp_path / run / "checkpoints" / "epoch-0002.ckpt", weights_only=False) for run in ("whole", "parts")
    )
    for network in ("generator", "discriminator", "posterior", "generator_average"):
        for name, weights in whole[network].items():
            assert torch.equal(weights, parts[network][name]), f"{network} {name}"


def test_own_songs_go_from_a_folder_to_a_bundle(midi_tree: Path, tmp_path: Path, export_command: Command) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    small = ("--bars", "1", "--steps-per-beat", "2", "--constant-latent-size", "1", "--bar-latent-size", "1")
    export_command("train", "music", "--recipe", "tiny", "--data", midi_tree, "--out", run, *small)
    assert (run / "samples" / "epoch-0002.png").stat().st_size > 1000
    export_command("export", run, "--out", models, "--name", "songs")
    bundle = read_bundle(models / "songs" / "1")
    settings = bundle.manifest.music
    assert bundle.manifest.licence == "LicenseRef-owner"
    assert [style.name for style in settings.styles] == ["fast", "slow"]
    assert settings.styles[0].tempo_bpm == 160
    assert [track.role for track in settings.tracks] == list(TRACKS)
    assert {graph.role for graph in bundle.manifest.graphs} == {"generator", "accompanist"}
    assert (bundle.folder / "samples" / "fast.mid").read_bytes()[:4] == b"MThd"
    export_command("verify", bundle.folder)


def test_the_tutorials_bundle_gives_one_chord_a_sample(
    midi_tree: Path, tmp_path: Path, export_command: Command
) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    export_command("train", "music", "--recipe", "tutorial", "--data", midi_tree, "--epochs", "2", "--out", run)
    export_command("export", run, "--out", models)
    manifest = read_bundle(models / "music" / "1").manifest
    assert (manifest.music.bars, manifest.music.steps_per_bar, manifest.music.pitches) == (1, 1, 88)
    assert not manifest.music.accompanist
    export_command("verify", models / "music" / "1")


def test_segments_join_bars_in_time() -> None:
    onset = np.zeros((1, 2, 5, 16, 84), bool)
    onset[0, 1, 3, 2, 7] = True
    joined = as_rolls(onset, np.zeros_like(onset))
    assert np.argwhere(joined).tolist() == [[0, 3, 0, 18, 7]]
