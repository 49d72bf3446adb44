"""Clients of the Open Inference Protocol that nobody here wrote, each in an environment of its own, on real models."""

from __future__ import annotations

import json
import re
import subprocess
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from google.protobuf.descriptor import Descriptor
from numpy.typing import NDArray

from muserve import __version__
from muserve.bundle import Bundle, read_bundle
from muserve.inference import infer_pb2, model_config_pb2, model_repository_pb2, model_statistics_pb2, service_pb2
from muserve.v1 import manifest_pb2
from muserve_server.engine import OnnxEngine, OnnxOptions
from tests.repo.snippets import Block, blocks
from tests.servers import server_process

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("open_inference")
MODELS = REPOSITORY / "models"
REQUIREMENTS = {
    "tritonclient": "tritonclient[grpc]==2.73.0",
    "kserve": "kserve==0.21.0",
    "mlserver": "mlserver==1.7.1",
}
MESSAGES = {
    "tritonclient": ("tritonclient.grpc.service_pb2", "tritonclient.grpc.model_config_pb2"),
    "kserve": ("kserve.protocol.grpc.grpc_predict_v2_pb2",),
    "mlserver": ("mlserver.grpc.dataplane_pb2",),
}
TIMEOUT_S = 600

Tensors = dict[str, NDArray[Any]]
Key = tuple[str, str]


@dataclass(frozen=True)
class Case:
    """One graph of one version: what to send, and what must come back."""

    inputs: Tensors
    outputs: Tensors
    tolerance: float


def environment(client: str) -> Path:
    """Returns the Python of a client's environment, with this SDK beside it; made anew for another version alone."""
    folder = REPOSITORY / ".venv-clients" / client
    python, stamp = folder / "bin/python", folder / "requirement"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(folder.parent / f"{client}.lock"):
        if not stamp.is_file() or stamp.read_text() != REQUIREMENTS[client]:
            venv.create(folder, with_pip=True, clear=True)
            pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, REQUIREMENTS[client], "-e", REPOSITORY / "clients/python"], check=True)
            stamp.write_text(REQUIREMENTS[client])
    return python


def run(client: str, *arguments: str | Path, cwd: Path = PROGRAMS) -> str:
    command = [str(environment(client)), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cases_of(bundle: Bundle) -> dict[Key, Case]:
    """A case for each graph: its first run in the goldens, or numbers drawn here and what onnxruntime makes of them."""
    cases: dict[Key, Case] = {}
    graphs = bundle.manifest.graphs
    names = {graph.role: f"{bundle.manifest.name}.{graph.role}" if len(graphs) > 1 else bundle.manifest.name
             for graph in graphs}  # fmt: skip
    for golden in bundle.manifest.goldens:
        with np.load(bundle.folder / golden.file) as recorded:
            keys = [re.fullmatch(r"([\d.]+)\.(\w+)\.(in|out)\.(\w+)", key) for key in recorded]
            assert all(keys)
            parts = [key.groups() for key in keys if key]
            for run_, role in dict.fromkeys(part[:2] for part in parts):
                given, gave = (
                    {part[3]: recorded[".".join(part)] for part in parts if part[:3] == (run_, role, side)}
                    for side in ("in", "out")
                )
                cases.setdefault((names[role], str(bundle.manifest.version)), Case(given, gave, golden.tolerance))
    for graph in graphs:
        key = names[graph.role], str(bundle.manifest.version)
        if key not in cases:
            given = {spec.name: drawn(spec) for spec in graph.inputs}
            engine = OnnxEngine.open(bundle.folder / graph.onnx_file, graph, OnnxOptions(threads=1))
            cases[key] = Case(given, engine.run(given), tolerance=1e-4)
    return cases


def drawn(spec: manifest_pb2.TensorSpec) -> NDArray[Any]:
    shape = [2, *(size if size > 0 else 7 for size in spec.shape[1:])]
    if spec.dtype == manifest_pb2.DATA_TYPE_INT64:
        return np.zeros(shape, np.int64)
    return np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)


CASES = {
    key: case
    for manifest in sorted(MODELS.glob("*/*/manifest.json"))
    for key, case in cases_of(read_bundle(manifest.parent)).items()
}


@pytest.fixture(scope="module", params=["grpcio", "envoy"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with server_process(MODELS, "--front", request.param) as server:
        yield f"localhost:{server.grpc_port}"


@dataclass(frozen=True)
class Seen:
    """What a program saw."""

    outputs: dict[Key, Tensors]
    facts: dict[str, Any]


def see(client: str, program: str, address: str, folder: Path) -> Seen:
    given = {f"{n}|{v}|{tensor}": array for (n, v), case in CASES.items() for tensor, array in case.inputs.items()}
    np.savez(folder / "in.npz", **given)  # type: ignore[arg-type]
    printed = run(client, program, address, folder / "in.npz", folder / "out.npz")
    outputs: dict[Key, Tensors] = {}
    with np.load(folder / "out.npz") as tensors:
        for key in tensors:
            name, version, tensor = key.split("|")
            outputs.setdefault((name, version), {})[tensor] = tensors[key]
    return Seen(outputs, json.loads(printed.splitlines()[-1]))


@pytest.fixture(scope="module")
def triton(address: str, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return see("tritonclient", "triton_sync.py", address, tmp_path_factory.mktemp("triton"))


def test_tritons_client_gets_the_numbers_of_the_graphs(triton: Seen) -> None:
    assert triton.outputs.keys() == CASES.keys()
    for key, case in CASES.items():
        assert triton.outputs[key].keys() == case.outputs.keys()
        for name, expected in case.outputs.items():
            actual = triton.outputs[key][name]
            assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(actual, expected, rtol=0, atol=case.tolerance, err_msg=f"{key} {name}")


def test_every_graph_of_the_bundled_models_was_called(triton: Seen) -> None:
    assert {(name, version) for name, version, state in triton.facts["index"] if state == "READY"} == CASES.keys()


def test_tritons_client_reads_what_the_server_says_of_itself(triton: Seen) -> None:
    facts = triton.facts
    assert (facts["live"], facts["ready"]) == (True, True)
    extensions = ["model_configuration", "statistics"]
    assert facts["server"] == {"name": "muserve", "version": __version__, "extensions": extensions}
    assert facts["statistics"]["digits|2"] == [2, "2"]


def test_tritons_client_tells_errors_apart(triton: Seen) -> None:
    facts = triton.facts
    rows, size = CASES["digits", "2"].inputs["latent"].shape
    assert facts["unknown model"][0] == "StatusCode.NOT_FOUND"
    assert "digits" in facts["unknown model"][1]
    assert facts["unknown version"] == ["StatusCode.NOT_FOUND", "version is 77; model 'digits' has the versions 1, 2"]
    code, message = facts["wrong shape"]
    assert code == "StatusCode.INVALID_ARGUMENT"
    assert f"input 'latent' is [{rows}, {size - 1}]; the graph takes [-1, {size}]" in message
    assert facts["no loading"][0] == "StatusCode.UNIMPLEMENTED"
    assert facts["too late"][0] == "StatusCode.DEADLINE_EXCEEDED"


@pytest.mark.parametrize(
    ("client", "program"),
    [("tritonclient", "triton_aio.py"), ("kserve", "kserve_client.py"), ("mlserver", "mlserver_client.py")],
)
def test_the_other_clients_get_the_same_bits(
    client: str, program: str, address: str, triton: Seen, tmp_path: Path
) -> None:
    seen = see(client, program, address, tmp_path)
    assert (seen.facts["live"], seen.facts["ready"]) == (True, True)
    assert seen.facts.get("index", triton.facts["index"]) == triton.facts["index"]
    assert seen.facts.get("unknown model", "NOT_FOUND") == "NOT_FOUND"
    assert seen.facts.get("ready models", [True, True]) == [True, True]
    assert seen.outputs.keys() == CASES.keys()
    for key, expected in triton.outputs.items():
        assert seen.outputs[key].keys() == expected.keys()
        for name, tensor in expected.items():
            np.testing.assert_array_equal(seen.outputs[key][name], tensor, err_msg=f"{key} {name}")


def fields(message: Descriptor) -> dict[str, dict[str, list[Any]]]:
    found = {message.full_name: {str(f.number): [f.name, f.type, f.is_repeated] for f in message.fields}}
    for nested in message.nested_types:
        found |= fields(nested)
    return found


@pytest.mark.parametrize("client", REQUIREMENTS)
def test_the_messages_are_those_of_the_client(client: str) -> None:
    """Wherever a client has a field of a number, it has the name and the type that this contract says."""
    theirs = json.loads(run(client, "fields.py", *MESSAGES[client]))
    modules = (infer_pb2, model_config_pb2, model_repository_pb2, model_statistics_pb2, service_pb2)
    ours: dict[str, dict[str, list[Any]]] = {}
    for module in modules:
        for message in module.DESCRIPTOR.message_types_by_name.values():
            ours |= fields(message)
    shared = ours.keys() & theirs.keys()
    assert {"inference.ModelInferRequest", "inference.ModelInferResponse"} <= shared
    # MLServer has another field 6 in place of `properties`, which is why it is never sent.
    odd = {("inference.ModelMetadataResponse", "6")} if client == "mlserver" else set()
    for message in shared:
        for number in ours[message].keys() & theirs[message].keys():
            if (message, number) not in odd:
                assert theirs[message][number] == ours[message][number], (message, number)
    if client == "tritonclient":
        assert shared >= {name for name in ours if "Entry" not in name}
        assert all(number in theirs[m] for m in shared for number in ours[m] if (m, number) != (PROPERTIES, "6"))


PROPERTIES = "inference.ModelMetadataResponse"


@pytest.mark.parametrize("modules", [("muserve_client", "tritonclient.grpc"), ("tritonclient.grpc", "muserve_client")])
def test_the_sdk_and_tritons_client_work_in_one_process(modules: tuple[str, str], address: str, tmp_path: Path) -> None:
    program = tmp_path / "both.py"
    program.write_text(
        f"import {modules[0]}\nimport {modules[1]}\n"
        "import muserve_client\nfrom tritonclient.grpc import InferenceServerClient\n"
        f"with muserve_client.Client({address!r}) as sdk, InferenceServerClient({address!r}) as triton:\n"
        "    print(len(sdk.images(2, seed=7)), triton.is_model_ready('digits'))\n"
    )
    assert run("tritonclient", program, cwd=tmp_path).split() == ["2", "True"]


def example(language: str) -> Block:
    (block,) = [block for block in blocks("docs/open-inference.md") if block.language == language]
    return block


@pytest.mark.parametrize("address", ["envoy"], indirect=True)
def test_the_line_for_curl_gets_json(address: str) -> None:
    command = example("sh").text.replace("localhost:8001", address)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    described = json.loads(done.stdout)
    assert described["name"] == "music.accompanist"
    inputs = {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in described["inputs"]}
    assert inputs["bar_latents"] == ("FP32", ["-1", "4", "96"])


def test_the_example_of_the_document_runs(address: str, tmp_path: Path) -> None:
    block = example("python")
    assert '"localhost:8001"' in block.text
    program = tmp_path / "example.py"
    program.write_text(block.text.replace("localhost:8001", address))
    assert run("tritonclient", program, cwd=tmp_path) == "(4, 1, 28, 28) True True\n"
