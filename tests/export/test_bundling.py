"""Bundles: from a run to a served PNG, proven graphs, version numbers, what is refused."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from torch import Tensor, nn

from muserve.bundle import read_bundle
from muserve.v1 import common_pb2, manifest_pb2
from muserve_export.bundling import GraphSource
from muserve_export.bundling.graphs import write_graphs
from muserve_export.errors import ParityError
from muserve_export.training.run import read_checkpoint
from muserve_server.engine import OnnxEngine, OnnxOptions
from tests.bundles import image_bundle
from tests.export.conftest import Command
from tests.servers import server_process


@pytest.fixture(scope="module")
def models(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory, export_command: Command) -> Path:
    folder = tmp_path_factory.mktemp("models")
    export_command("export", tiny_run, "--name", "shapes", "--out", folder)
    return folder


def test_own_images_become_a_served_png_in_four_commands(tmp_path: Path, image_tree: Path) -> None:
    run, models, png = tmp_path / "run", tmp_path / "models", tmp_path / "shape.png"

    def command(module: str, *arguments: object) -> None:
        subprocess.run([sys.executable, "-m", module, *map(str, arguments)], check=True, timeout=280)

    command("muserve_export", "train", "digits", "--recipe", "tiny", "--data", image_tree, "--out", run)
    command("muserve_export", "export", run, "--name", "shapes", "--out", models)
    with server_process(models) as server:
        command("muserve_client", "images", "--count", 1, "--out", png, "--server", f"localhost:{server.grpc_port}")
    with Image.open(png) as picture:
        assert picture.size == (16, 16)
        assert np.asarray(picture).std() > 0


def test_the_bundle_says_what_it_is_and_where_it_comes_from(models: Path) -> None:
    manifest = read_bundle(models / "shapes" / "1").manifest
    assert (manifest.name, manifest.version, manifest.task) == ("shapes", 1, common_pb2.TASK_IMAGE)
    assert (manifest.training["family"], manifest.training["recipe"]) == ("digits", "tiny")
    assert manifest.training["epochs"] == "2"
    assert manifest.training_data[0].split.startswith("28 training, 4 validation, 8 test")
    assert {"torch", "onnx", "onnxruntime", "muserve"} <= set(manifest.frameworks)
    graph = manifest.graphs[0]
    assert list(graph.parity.batch_sizes) == [1, 3, 64]
    assert 0 < graph.parity.onnx_max_abs_diff <= graph.parity.tolerance
    assert list(graph.batch_invariance.batch_sizes) == [1, 2, 3, 5, 8, 16, 32, 64]
    assert {golden.name for golden in manifest.goldens} == {"sheet", "one"}
    optional = {file.path for file in manifest.files if file.optional}
    assert optional == {"graphs/generator.ts", "samples/sheet.png", "MODEL_CARD.md"}
    card = (models / "shapes" / "1" / "MODEL_CARD.md").read_text()
    assert "28 training, 4 validation, 8 test" in card
    assert "without `--evaluate`" in card


def test_onnx_and_torchscript_are_readable_without_muserve(models: Path) -> None:
    graphs = models / "shapes" / "1" / "graphs"
    onnx.checker.check_model(graphs / "generator.onnx", full_check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(graphs / "generator.ts")
    assert script(torch.zeros(5, 16)).shape == (5, 1, 16, 16)


def test_versions_count_up_and_are_never_reused(models: Path, tiny_run: Path, export_command: Command) -> None:
    export_command("export", tiny_run, "--name", "counted", "--out", models)
    export_command("export", tiny_run, "--name", "counted", "--out", models)
    assert sorted(path.name for path in (models / "counted").iterdir()) == ["1", "2"]
    done = export_command("export", tiny_run, "--name", "counted", "--version", 2, "--out", models, check=False)
    assert done.returncode == 1
    assert "version is 2; counted has [1, 2]" in done.stderr
    assert sorted(path.name for path in (models / "counted").iterdir()) == ["1", "2"]


def test_two_exports_of_a_run_hold_the_same_weights_and_numbers(
    models: Path, tiny_run: Path, tmp_path: Path, export_command: Command
) -> None:
    export_command("export", tiny_run, "--name", "shapes", "--out", tmp_path)
    one, other = (folder / "shapes" / "1" for folder in (models, tmp_path))
    first, second = (onnx.load(folder / "graphs/generator.onnx").graph for folder in (one, other))
    assert [tensor.raw_data for tensor in first.initializer] == [tensor.raw_data for tensor in second.initializer]
    with np.load(one / "goldens/sheet.npz") as before, np.load(other / "goldens/sheet.npz") as after:
        assert before.files == after.files
        assert all(np.array_equal(before[name], after[name]) for name in before.files)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory, export_command: Command) -> tuple[Path, Path, Path]:
    """A user's 200 images, a run that knows labels, and its bundle."""
    folder = tmp_path_factory.mktemp("labelled")
    data, run = folder / "data", folder / "run"
    random = np.random.default_rng(0)
    for name, rows in (("top", slice(0, 6)), ("bottom", slice(10, 16))):
        (data / name).mkdir(parents=True)
        for index in range(100):
            picture = random.integers(0, 60, (16, 16)).astype(np.uint8)
            picture[rows, int(random.integers(0, 6)) :] = 255
            Image.fromarray(picture).save(data / name / f"{index}.png")
    export_command(
        "train", "digits", "--recipe", "tiny", "--data", data, "--out", run, "--architecture", "convolutional",
        "--generator-channels", 4, "--discriminator-channels", 4, "--ema-decay", 0.9,
    )  # fmt: skip
    export_command("export", run, "--name", "bars", "--out", folder / "models")
    return data, run, folder / "models" / "bars" / "1"


def test_a_conditional_model_is_exported_with_its_average_labels_and_truncation(
    labelled: tuple[Path, Path, Path],
) -> None:
    _, run, folder = labelled
    manifest = read_bundle(folder).manifest
    assert list(manifest.image.labels) == ["bottom", "top"]
    assert [spec.name for spec in manifest.graphs[0].inputs] == ["latent", "label", "truncation"]
    assert manifest.licence == "LicenseRef-owner"
    assert manifest.training["data"] == "data"  # and not the whole path
    checkpoint = read_checkpoint(run)
    stored = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(folder / "graphs/generator.onnx").graph.initializer
    }
    average, last = (checkpoint[name]["embedding.weight"].numpy() for name in ("generator_average", "generator"))
    assert any(np.array_equal(value, average) for value in stored.values())
    assert not any(np.array_equal(value, last) for value in stored.values())


def test_evaluate_measures_what_the_bundle_serves(
    labelled: tuple[Path, Path, Path], export_command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data, _, folder = labelled
    monkeypatch.setattr("muserve_export.families.digits.evaluate.SAMPLES", 40)
    monkeypatch.setattr("muserve_export.families.digits.evaluate._PER_CALL", 20)
    done = export_command("evaluate", folder, "--data", data, "--out", tmp_path / "table.md")
    assert (tmp_path / "table.md").read_text() == done.stdout
    rows = {cells[1].strip(): cells for line in done.stdout.splitlines()[2:] if (cells := line.split("|"))}
    assert set(rows) == {
        "label agreement", "frechet distance", "class variance ratio", "near copies", "train on synthetic accuracy",
    }  # fmt: skip
    assert float(rows["frechet distance"][2]) > float(rows["frechet distance"][3].split()[0]), "worse than real images"
    assert float(rows["label agreement"][3].split()[0]) == 1.0  # bars are easy to judge
    refused = export_command("evaluate", folder, check=False)
    assert refused.returncode == 1
    assert "name its data: --data" in refused.stderr
    refused = export_command("evaluate", folder, "--data", data, "--details", tmp_path / "details.csv", check=False)
    assert refused.returncode == 1
    assert "no figures behind its table" in refused.stderr
    refused = export_command("evaluate", folder, folder, "--details", tmp_path / "details.csv", check=False)
    assert "for one bundle; 2 were given" in refused.stderr


def test_evaluate_refuses_a_bundle_of_no_family(tmp_path: Path, export_command: Command) -> None:
    done = export_command("evaluate", image_bundle(tmp_path), check=False)
    assert done.returncode == 1
    assert "names no family" in done.stderr


def test_notes_go_into_the_card(tiny_run: Path, tmp_path: Path, export_command: Command) -> None:
    (tmp_path / "notes.md").write_text("Squares come out round.\n")
    export_command("export", tiny_run, "--name", "shapes", "--out", tmp_path, "--notes", tmp_path / "notes.md")
    card = (tmp_path / "shapes" / "1" / "MODEL_CARD.md").read_text()
    assert "## Limits and known faults\n\nSquares come out round.\n" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "No Good"], "name is 'No Good'; allowed: a lower-case letter"),
        (["--version", "0"], "version is 0"),
        (["--notes", "no/such/notes.md"], "no/such/notes.md: cannot be read as text"),
        (["--versoin", "2"], "did you mean '--version'?"),
    ],
)
def test_bad_names_and_versions_are_refused(
    tiny_run: Path, tmp_path: Path, arguments: list[str], message: str, export_command: Command
) -> None:
    done = export_command("export", tiny_run, "--out", tmp_path, *arguments, check=False)
    assert done.returncode in (1, 2)
    assert message in " ".join(done.stderr.split())


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, export_command: Command) -> None:
    done = export_command("export", tmp_path, "--out", tmp_path / "models", check=False)
    assert done.returncode == 1
    assert "config.toml: cannot be read" in done.stderr


def test_verify_passes_a_whole_bundle_and_refuses_a_changed_one(
    tiny_run: Path, tmp_path: Path, export_command: Command
) -> None:
    export_command("export", tiny_run, "--name", "shapes", "--out", tmp_path)
    folder = tmp_path / "shapes" / "1"
    assert "whole" in export_command("verify", folder).stdout
    graph = folder / "graphs" / "generator.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"!")
    done = export_command("verify", folder, check=False)
    assert done.returncode == 1
    assert "graphs/generator.onnx has SHA-256" in done.stderr


class _RandomInEachForm(nn.Module):
    """Gives other numbers each time it runs: no exported form can agree with it."""

    def forward(self, latent: Tensor) -> Tensor:
        return latent + torch.rand_like(latent)


class _TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(3, 4)

    def forward(self, latent: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        styled = latent * self.embedding(label)
        return styled, styled.sum(1)


class _AnyLength(nn.Module):
    """Two LSTMs, of which the second begins where the first has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LSTM(4, 6, batch_first=True)
        self.second = nn.LSTM(6, 6, batch_first=True)

    def forward(self, values: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        read, state = self.first(values)
        read, (hidden, cell) = self.second(read + others, state)
        return read, hidden[0] + cell[0]


def _source(
    module: nn.Module, inputs: dict[str, tuple[manifest_pb2.DataType, list[int]]], outputs: dict[str, list[int]]
) -> GraphSource:
    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        return tuple(
            random.integers(0, 3, rows)
            if kind == manifest_pb2.DATA_TYPE_INT64
            else random.standard_normal((rows, *shape), dtype=np.float32)
            for kind, shape in inputs.values()
        )

    return GraphSource(
        role="generator",
        module=module.eval(),
        inputs=tuple(
            manifest_pb2.TensorSpec(name=name, dtype=kind, shape=[-1, *shape]) for name, (kind, shape) in inputs.items()
        ),
        outputs=tuple(
            manifest_pb2.TensorSpec(name=name, dtype=manifest_pb2.DATA_TYPE_FLOAT32, shape=[-1, *shape])
            for name, shape in outputs.items()
        ),
        draw=draw,
        max_batch_rows=16,
    )


def test_a_graph_with_several_inputs_and_outputs(tmp_path: Path) -> None:
    source = _source(
        _TwoInputs(),
        {"latent": (manifest_pb2.DATA_TYPE_FLOAT32, [4]), "label": (manifest_pb2.DATA_TYPE_INT64, [])},
        {"styled": [4], "total": []},
    )
    (graph,) = write_graphs([source], tmp_path)
    assert list(graph.parity.batch_sizes) == [1, 3, 16]
    assert graph.batch_invariance.exact


def test_lstms_take_sequences_of_any_length(tmp_path: Path) -> None:
    kind = manifest_pb2.DATA_TYPE_FLOAT32
    module = _AnyLength()
    source = _source(module, {"values": (kind, [-1, 4]), "others": (kind, [-1, 6])}, {"read": [-1, 6], "last": [6]})

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[np.generic], ...]:
        steps = int(random.integers(2, 9))
        return tuple(random.standard_normal((rows, steps, size), dtype=np.float32) for size in (4, 6))

    (graph,) = write_graphs([replace(source, draw=draw, max_threads=1)], tmp_path)
    assert graph.max_threads == 1
    assert "LSTM" in {node.op_type for node in onnx.load(tmp_path / graph.onnx_file).graph.node}
    engine = OnnxEngine.open(tmp_path / graph.onnx_file, graph, OnnxOptions())
    for steps in (1, 5, 31):
        values, others = torch.randn(2, steps, 4), torch.randn(2, steps, 6)
        found = engine.run({"values": values.numpy(), "others": others.numpy()})
        with torch.no_grad():
            wanted = module(values, others)
        for name, tensor in zip(("read", "last"), wanted, strict=True):
            np.testing.assert_allclose(found[name], tensor.numpy(), atol=1e-5)
    engine.close()


def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    source = _source(_RandomInEachForm(), {"latent": (manifest_pb2.DATA_TYPE_FLOAT32, [4])}, {"image": [4]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer says so too
        with pytest.raises(ParityError, match="differs from torch by"):
            write_graphs([source], tmp_path)


def test_the_manifest_names_the_opset_of_each_graph(models: Path) -> None:
    folder = models / "shapes" / "1"  # other tests write others beside it
    for graph in read_bundle(folder).manifest.graphs:
        opsets = {entry.domain: entry.version for entry in onnx.load(folder / graph.onnx_file).opset_import}
        assert opsets[""] == graph.opset
