"""Training: exact resume after a kill, first weights, several processes, what a run leaves on disk, bad input."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from muserve.configuration import build
from muserve_export.errors import DivergedError, RunError
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.training.ema import MovingAverage
from muserve_export.training.loop import epoch_batches
from muserve_export.training.metrics import Averages
from muserve_export.training.run import RunFolder, read_checkpoint
from muserve_export.training.schedules import constant_then_linear, linear, warm_up_cosine
from tests.export.comparing import assert_same
from tests.export.conftest import Command, train_in_two_processes

NETWORKS = ("generator", "discriminator", "generator_optimizer", "discriminator_optimizer")


def losses(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_run_leaves_config_log_plot_sheets_and_checkpoints(tiny_run: Path) -> None:
    config = build(DigitsConfig, RunFolder(tiny_run).values())
    assert (config.image_size, config.epochs, config.batch_size) == (16, 2, 16)
    rows = losses(tiny_run)
    assert [int(row["epoch"]) for row in rows] == [1, 1, 2, 2]  # 28 training images, 16 a step
    assert all(float(row["discriminator_loss"]) > 0 for row in rows)
    for picture in ("metrics.png", "samples/epoch-0001.png", "samples/epoch-0002.png"):
        with Image.open(tiny_run / picture) as image:
            image.load()
    with Image.open(tiny_run / "samples/epoch-0002.png") as sheet:
        assert sheet.size == (8 * 18 - 2, 8 * 18 - 2)  # 8×8 samples of 16×16, 2 pixels apart
    assert len(RunFolder(tiny_run).checkpoints()) == 2


SMALL_CONVOLUTIONS = [
    "--architecture", "convolutional", "--generator-channels", "4", "--discriminator-channels", "4",
    "--augment-translation", "0.2", "--augment-cutout", "0.2",
]  # fmt: skip
KINDS = {
    "dense": [],
    "convolutional, averaged, with a schedule": [
        *SMALL_CONVOLUTIONS, "--ema-decay", "0.9", "--final-learning-rate-share", "0.1",
    ],
}  # fmt: skip


KILLED_IN_THE_SECOND_EPOCH = """
import os, signal, sys
from muserve_export.cli import main
from muserve_export.training.metrics import Averages

add, steps = Averages.add, []

def add_or_die(*arguments):
    steps.append(1)
    if len(steps) == 4:  # of two an epoch
        os.kill(os.getpid(), signal.SIGKILL)
    add(*arguments)

Averages.add = add_or_die
main(sys.argv[1:])
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_resumes_exactly(tmp_path: Path, image_tree: Path, export_command: Command, kind: str) -> None:
    options = ["train", "digits", "--recipe", "tiny", "--data", str(image_tree), "--epochs", "4", *KINDS[kind]]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-c", KILLED_IN_THE_SECOND_EPOCH, *options, "--out", str(killed)]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == -signal.SIGKILL
    assert read_checkpoint(killed)["epoch"] == 1
    export_command("train", "digits", "--resume", "--out", killed)
    export_command(*options, "--out", whole)
    one, other = read_checkpoint(killed), read_checkpoint(whole)
    assert set(NETWORKS) <= one.keys() == other.keys()
    for name in one.keys() - {"seconds"}:
        assert_same(one[name], other[name])
    assert losses(killed) == losses(whole)
    with Image.open(RunFolder(killed).sheet(4)) as first, Image.open(RunFolder(whole).sheet(4)) as second:
        assert first.tobytes() == second.tobytes()


def test_a_run_killed_before_its_first_checkpoint_resumes_from_the_start(
    tmp_path: Path, image_tree: Path, tiny_run: Path, export_command: Command
) -> None:
    run = RunFolder(tmp_path / "run")
    config = build(DigitsConfig, RunFolder(tiny_run).values())
    run.begin("digits", "tiny", config)
    run.metrics_csv.write_text("")
    export_command("train", "digits", "--resume", "--out", run.path)
    assert_same(read_checkpoint(run.path)["generator"], read_checkpoint(tiny_run)["generator"])
    assert losses(run.path) == losses(tiny_run)


def test_other_data_or_epochs_are_another_run(
    tmp_path: Path, image_tree: Path, tiny_run: Path, export_command: Command
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(image_tree, data)
    export_command(
        "train", "digits", "--recipe", "tiny", "--data", data, "--out", run, "--final-learning-rate-share", 0.5
    )
    done = export_command("train", "digits", "--resume", "--out", run, "--epochs", 9, check=False)
    assert "epochs is 9" in done.stderr  # the schedule is stretched over the epochs
    (data / "circle" / "00.png").unlink()
    for command in (("train", "digits", "--resume", "--out", run), ("export", run, "--out", tmp_path / "models")):
        done = export_command(*command, check=False)
        assert done.returncode == 1
        assert "data_sha256 is" in done.stderr or "is not what" in done.stderr
    done = export_command("train", "digits", "--resume", "--out", tiny_run, "--epochs", 1, check=False)
    assert "has done 2 already" in done.stderr


def test_checkpoints_are_ordered_by_number(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for epoch in ("10000", "9999", "0007"):
        (folder / f"epoch-{epoch}.ckpt").touch()
    assert RunFolder(tmp_path).newest_checkpoint().name == "epoch-10000.ckpt"


def test_another_seed_gives_other_weights(
    tmp_path: Path, image_tree: Path, tiny_run: Path, export_command: Command
) -> None:
    export_command("train", "digits", "--recipe", "tiny", "--data", image_tree, "--seed", 1, "--out", tmp_path / "run")
    name = "layers.0.weight"
    assert not torch.equal(
        read_checkpoint(tmp_path / "run")["generator"][name], read_checkpoint(tiny_run)["generator"][name]
    )


def test_init_from_takes_the_weights_and_not_the_steps(
    tmp_path: Path, image_tree: Path, tiny_run: Path, export_command: Command
) -> None:
    run = tmp_path / "run"
    export_command(
        "train", "digits", "--recipe", "tiny", "--data", image_tree, "--out", run, "--init-from", tiny_run,
        "--learning-rate", 0, "--epochs", 1,
    )  # fmt: skip
    before, after = read_checkpoint(tiny_run), read_checkpoint(run)
    assert_same(before["generator"], after["generator"])
    assert after["step"] == 2


def test_init_from_another_shape_is_refused(
    tmp_path: Path, image_tree: Path, tiny_run: Path, export_command: Command
) -> None:
    done = export_command(
        "train", "digits", "--recipe", "tiny", "--data", image_tree, "--out", tmp_path / "run", "--init-from", tiny_run,
        "--latent-size", 5, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "init_from" in done.stderr
    assert "generator has another shape" in done.stderr


@pytest.mark.parametrize("more", [[], SMALL_CONVOLUTIONS], ids=["dense", "convolutional"])
def test_two_processes_of_torchrun_learn_one_model(tmp_path: Path, image_tree: Path, more: list[str]) -> None:
    run = tmp_path / "run"
    train_in_two_processes("digits", "--recipe", "tiny", "--data", str(image_tree), "--out", str(run), *more)
    assert read_checkpoint(run)["step"] == 2  # 28 images: 14 a process, one batch of up to 16 each, two epochs
    assert len(losses(run)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], "unknown argument '--epoch'; did you mean '--epochs'?"),
        (["--recipe", "tutoral"], "unknown recipe 'tutoral'; did you mean 'tutorial'?"),
        (["--epochs", "0"], "epochs is 0; it must be at least 1"),
        (["--epochs", "many"], "epochs is 'many'; it must be a whole number"),
        (["--data", "no/such/folder"], "data is 'no/such/folder', which is no folder"),
        (["--device", "tpu"], "device is 'tpu'; allowed: auto, cpu, cuda"),
        (["--channels", "2"], "channels is 2; allowed: 1 for grey, 3 for RGB"),
        (["--architecture", "convolutional", "--image-size", "30"], "so it must be a multiple of 4"),
        (["--resume", "--init-from", "x"], "exclude each other"),
        (["--init-from", "no/such/run"], "no such checkpoint or run folder"),
        (["--resume"], "cannot be read"),
    ],
)
def test_bad_arguments_are_refused(arguments: list[str], message: str, tmp_path: Path, export_command: Command) -> None:
    done = export_command("train", "digits", "--recipe", "tiny", "--out", tmp_path / "run", *arguments, check=False)
    if "--recipe" in arguments:
        done = export_command("train", "digits", "--out", tmp_path / "run", *arguments, check=False)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_recipe_of_ones_own_with_an_unknown_value_is_refused(tmp_path: Path, export_command: Command) -> None:
    (tmp_path / "mine.toml").write_text("lerning_rate = 1e-3\n")
    done = export_command("train", "digits", "--recipe", tmp_path / "mine.toml", "--out", tmp_path / "run", check=False)
    assert done.returncode == 1
    assert "unknown setting 'lerning_rate'; did you mean 'learning_rate'?" in done.stderr


def test_a_run_is_not_written_over(tiny_run: Path, image_tree: Path, export_command: Command) -> None:
    done = export_command("train", "digits", "--recipe", "tiny", "--data", image_tree, "--out", tiny_run, check=False)
    assert done.returncode == 1
    assert "holds a run already" in done.stderr


def test_resume_refuses_another_configuration(tiny_run: Path, export_command: Command) -> None:
    done = export_command("train", "digits", "--resume", "--out", tiny_run, "--learning-rate", "0.5", check=False)
    assert done.returncode == 1
    assert "learning_rate is 0.5" in done.stderr
    assert "0.0002" in done.stderr


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "epoch-0001.ckpt"
    path.write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(RunError, match="not a whole checkpoint"):
        read_checkpoint(path)


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    averages = Averages()
    averages.add({"generator_loss": torch.tensor(float("nan"))})
    with pytest.raises(DivergedError, match="generator_loss is nan"):
        averages.take()


def test_an_epoch_is_split_over_processes_and_seen_once() -> None:
    config = build(DigitsConfig, {"batch_size": 4})
    parts = [[batch.tolist() for batch in epoch_batches(21, config, 3, 2, rank)] for rank in range(2)]
    assert [len(batch) for batch in parts[0]] == [len(batch) for batch in parts[1]] == [4, 4, 3]
    seen = [index for part in parts for batch in part for index in batch]
    assert set(seen) == set(range(21))
    assert len(seen) == 22  # one stands twice, so that both have as many
    assert seen != [index for part in parts for batch in part for index in sorted(batch)]


def test_averages_differ_from_torch_s_own_until_the_warm_up_is_past() -> None:
    """Why `MovingAverage` stays: short runs would export other weights."""

    def largest_difference(steps: int, decay: float) -> float:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
        ours = MovingAverage(network, decay)
        theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            network(torch.randn(16, 4)).square().mean().backward()
            optimizer.step()
            ours.update(network, step)
            theirs.update_parameters(network)
        pairs = zip(ours.module.state_dict().values(), theirs.module.state_dict().values(), strict=True)
        return max(float((one - other).abs().max()) for one, other in pairs if one.is_floating_point())

    assert largest_difference(1000, 0.98) < 1e-6
    assert largest_difference(100, 0.999) > 0.05


def test_learning_rates_at_the_ends_of_a_run() -> None:
    assert [linear(step, 10, 0.1) for step in (0, 10)] == [1.0, pytest.approx(0.1)]
    assert [constant_then_linear(step, 10, 0.5) for step in (1, 6, 10)] == [1.0, 1.0, pytest.approx(0.2)]
    assert {constant_then_linear(step, 10, 1.0) for step in range(1, 11)} == {1.0}
    shares = [warm_up_cosine(progress, warm_up_share=0.2, final_share=0.1) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert shares == pytest.approx([0.01, 0.5, 1.0, 0.55, 0.1])
