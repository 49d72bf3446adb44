"""Requests of the Open Inference Protocol that are wrong: each is refused before it runs, and told what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muserve.bundle import read_bundle
from muserve.errors import InvalidRequestError
from muserve.inference import infer_pb2
from muserve.v1 import manifest_pb2
from muserve_server.services.open_inference import TensorLimits
from muserve_server.services.open_inference.inputs import check_request, read_rows
from tests.bundles import HEIGHT, LATENT_SIZE, WIDTH, image_bundle
from tests.server.services.inferring import raw_request, typed_request

Request = infer_pb2.ModelInferRequest
Edit = Callable[[Request], object]
ROW_BYTES = 4 * HEIGHT * WIDTH
LIMITS = TensorLimits(max_rows=50, max_free_size=30, max_response_bytes=40 * ROW_BYTES)
GIVEN: dict[str, NDArray[Any]] = {
    "latent": np.zeros((3, LATENT_SIZE), np.float32),
    "truncation": np.ones(3, np.float32),
    "label": np.zeros(3, np.int64),
}
INPUTS = "latent, truncation, label"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> manifest_pb2.Graph:
    folder = image_bundle(tmp_path_factory.mktemp("models"), labels=("cat", "dog"))
    return read_bundle(folder).manifest.graphs[0]


def violations(request: Request, graph: manifest_pb2.Graph) -> dict[str, str]:
    def read() -> None:
        check_request(request, graph, LIMITS)
        read_rows(request, graph)

    with pytest.raises(InvalidRequestError) as caught:
        read()
    return {violation.field: violation.description for violation in caught.value.violations}


def shape(index: int, *sizes: int) -> Edit:
    def edit(request: Request) -> None:
        request.inputs[index].shape[:] = sizes

    return edit


def parameter(get: Callable[[Request], Any], name: str) -> Edit:
    def edit(request: Request) -> None:
        get(request).parameters[name].string_param = "x"

    return edit


def set_name(index: int, name: str) -> Edit:
    return lambda request: setattr(request.inputs[index], "name", name)


HEADERS: dict[str, tuple[Edit, str, str]] = {
    "an unknown input": (
        set_name(1, "temperature"), "inputs[1].name", f"is 'temperature'; the graph has {INPUTS}, each once",
    ),
    "an input twice": (
        set_name(1, "latent"), "inputs[1].name", f"repeats 'latent'; the graph has {INPUTS}, each once",
    ),
    "a missing input": (
        lambda request: request.inputs.pop(), "inputs", f"lack label; the graph has {INPUTS}, each once",
    ),
    "no inputs": (
        lambda request: request.ClearField("inputs"), "inputs", f"lack {INPUTS}; the graph has {INPUTS}, each once",
    ),
    "too many inputs": (
        lambda request: request.inputs.extend([request.inputs[0]] * 100_000),
        "inputs", f"are 100003; the graph has {INPUTS}, each once",
    ),
    "another datatype": (
        lambda request: setattr(request.inputs[0], "datatype", "FP64"),
        "inputs[0].datatype", "input 'latent' is 'FP64'; the graph takes 'FP32'",
    ),
    "no datatype": (
        lambda request: setattr(request.inputs[2], "datatype", ""),
        "inputs[2].datatype", "input 'label' is ''; the graph takes 'INT64'",
    ),
    "too few dimensions": (
        shape(0, 3), "inputs[0].shape",
        f"input 'latent' has 1 dimensions, [3]; the graph takes [-1, {LATENT_SIZE}], the rows first",
    ),
    "too many dimensions": (
        shape(2, *[1] * 12), "inputs[2].shape",
        "input 'label' has 12 dimensions, [1, 1, 1, 1, 1, 1, 1, 1, …]; the graph takes [-1], the rows first",
    ),
    "no shape": (
        shape(2), "inputs[2].shape", "input 'label' has 0 dimensions, []; the graph takes [-1], the rows first",
    ),
    "another size": (
        shape(0, 3, 7), "inputs[0].shape[1]", f"input 'latent' is [3, 7]; the graph takes [-1, {LATENT_SIZE}]",
    ),
    "a size below 0": (
        shape(0, 3, -LATENT_SIZE), "inputs[0].shape[1]",
        f"input 'latent' is [3, -{LATENT_SIZE}]; the graph takes [-1, {LATENT_SIZE}]",
    ),
    "no rows": (
        shape(1, 0), "inputs[1].shape[0]",
        "input 'truncation' is [0]; allowed in dimension 0: 1 up to 50 (the server's setting max_samples_per_call)",
    ),
    "too many rows": (
        shape(1, 51), "inputs[1].shape[0]",
        "input 'truncation' is [51]; allowed in dimension 0: 1 up to 50 (the server's setting max_samples_per_call)",
    ),
    "more rows than there are numbers": (
        shape(0, 2**62, LATENT_SIZE), "inputs[0].shape[0]",
        f"input 'latent' is [{2**62}, {LATENT_SIZE}]; allowed in dimension 0: 1 up to 50 (the server's setting "
        "max_samples_per_call)",
    ),
    "rows that differ": (
        shape(2, 4), "inputs",
        "have different numbers of rows (latent 3, truncation 3, label 4); each needs the same",
    ),
    "an unknown output": (
        lambda request: request.outputs.add(name="sound"), "outputs[0].name",
        "is 'sound'; the graph has image, each at most once",
    ),
    "too many outputs": (
        lambda request: request.outputs.extend([Request.InferRequestedOutputTensor(name="image")] * 2), "outputs",
        "are 2; the graph has image, each at most once",
    ),
    "a sequence": (
        parameter(lambda request: request, "sequence_id"), "parameters[sequence_id]",
        "graphs keep nothing from one call to the next; leave it out",
    ),
    "shared memory in": (
        parameter(lambda request: request.inputs[1], "shared_memory_region"),
        "inputs[1].parameters[shared_memory_region]",
        "tensors are sent in the call, not in shared memory; leave it out",
    ),
    "shared memory out": (
        parameter(lambda request: request.outputs.add(name="image"), "shared_memory_region"),
        "outputs[0].parameters[shared_memory_region]",
        "tensors are sent in the call, not in shared memory; leave it out",
    ),
    "classes": (
        parameter(lambda request: request.outputs.add(name="image"), "classification"),
        "outputs[0].parameters[classification]", "outputs come as they are, not as classes; leave it out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", [raw_request, typed_request])
@pytest.mark.parametrize("case", HEADERS)
def test_a_wrong_header_is_refused(case: str, make: Callable[..., Request], graph: manifest_pb2.Graph) -> None:
    edit, field, description = HEADERS[case]
    request = make("shapes", GIVEN)
    edit(request)
    assert violations(request, graph) == {field: description}


def test_all_that_is_wrong_is_told_at_once(graph: manifest_pb2.Graph) -> None:
    request = raw_request("shapes", GIVEN, ["sound"])
    request.inputs[0].datatype = "BYTES"
    request.inputs[1].shape[:] = [3, 3]
    assert set(violations(request, graph)) == {"inputs[0].datatype", "inputs[1].shape", "outputs[0].name"}


def test_an_output_is_asked_for_once(graph: manifest_pb2.Graph) -> None:
    two = manifest_pb2.Graph()
    two.CopyFrom(graph)
    two.outputs.add(name="mask", dtype=manifest_pb2.DATA_TYPE_BOOL, shape=[-1])
    check_request(raw_request("shapes", GIVEN, ["mask", "image"]), two, LIMITS)
    assert violations(raw_request("shapes", GIVEN, ["image", "image"]), two) == {
        "outputs[1].name": "repeats 'image'; the graph has image, mask, each at most once"
    }


def test_long_names_are_repeated_in_part(graph: manifest_pb2.Graph) -> None:
    request = raw_request("shapes", GIVEN)
    request.inputs[0].name = "x" * 10_000
    assert f"is '{'x' * 100}'" in violations(request, graph)["inputs[0].name"]


def test_free_dimensions_have_a_limit() -> None:
    free = manifest_pb2.Graph(
        role="reader",
        inputs=[manifest_pb2.TensorSpec(name="passage", dtype=manifest_pb2.DATA_TYPE_INT64, shape=[-1, -1])],
        outputs=[manifest_pb2.TensorSpec(name="end", dtype=manifest_pb2.DATA_TYPE_FLOAT32, shape=[-1, -1])],
    )
    check_request(raw_request("copies.reader", {"passage": np.zeros((2, 30), np.int64)}), free, LIMITS)
    for size in (0, 31):
        request = raw_request("copies.reader", {"passage": np.zeros((2, size), np.int64)})
        assert violations(request, free) == {
            "inputs[0].shape[1]": f"input 'passage' is [2, {size}]; allowed in dimension 1: 1 up to 30 (the server's "
            "setting max_free_size)"
        }


def test_answers_that_could_not_be_sent_are_not_computed(graph: manifest_pb2.Graph) -> None:
    def of(rows: int) -> Request:
        return raw_request("shapes", {name: np.repeat(tensor[:1], rows, axis=0) for name, tensor in GIVEN.items()})

    check_request(of(40), graph, LIMITS)
    assert violations(of(41), graph) == {
        "inputs": f"have 41 rows, which give {41 * ROW_BYTES} bytes or more; this server sends at most "
        f"{40 * ROW_BYTES} (its setting max_message_mib): send at most 40 rows a call, or ask for fewer outputs"
    }


def raw(edit: Callable[[Any], object]) -> Callable[[], Request]:
    def make() -> Request:
        request = raw_request("shapes", GIVEN)
        edit(request.raw_input_contents)
        return request

    return make


def typed(edit: Callable[[Request], object]) -> Callable[[], Request]:
    def make() -> Request:
        request = typed_request("shapes", GIVEN)
        edit(request)
        return request

    return make


def both() -> Request:
    request = typed_request("shapes", GIVEN)
    request.raw_input_contents.extend(raw_request("shapes", GIVEN).raw_input_contents)
    return request


LATENT_BYTES = 3 * LATENT_SIZE * 4
LATENT = f"input 'latent', FP32 [3, {LATENT_SIZE}],"
ELEMENTS: dict[str, tuple[Callable[[], Request], dict[str, str]]] = {
    "too few bytes": (
        raw(lambda contents: contents.__setitem__(0, contents[0][:-1])),
        {"raw_input_contents[0]": f"{LATENT} has {LATENT_BYTES - 1} bytes, not {LATENT_BYTES}"},
    ),
    "too many bytes": (
        raw(lambda contents: contents.__setitem__(0, contents[0] * 2)),
        {"raw_input_contents[0]": f"{LATENT} has {LATENT_BYTES * 2} bytes, not {LATENT_BYTES}"},
    ),
    "too few entries": (
        raw(lambda contents: contents.pop()),
        {"raw_input_contents": "has 2 entries; it needs one for each of the inputs"},
    ),
    "too many entries": (
        raw(lambda contents: contents.extend([b""] * 9)),
        {"raw_input_contents": "has 12 entries; it needs one for each of the inputs"},
    ),
    "both kinds": (
        both,
        {
            f"inputs[{index}].contents": "is there beside raw_input_contents; send one of them"
            for index in range(3)
        },
    ),
    "no elements": (
        typed(lambda request: request.inputs[0].ClearField("contents")),
        {"inputs[0].contents": f"{LATENT} has 0 elements, not {3 * LATENT_SIZE}"},
    ),
    "too many elements": (
        typed(lambda request: request.inputs[0].contents.fp32_contents.append(1)),
        {"inputs[0].contents": f"{LATENT} has {3 * LATENT_SIZE + 1} elements, not {3 * LATENT_SIZE}"},
    ),
    "another field": (
        typed(lambda request: request.inputs[2].contents.int_contents.append(1)),
        {
            "inputs[2].contents": "input 'label', INT64 [3], has elements in int_contents, int64_contents; INT64 takes "
            "int64_contents"
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ELEMENTS)
def test_wrong_elements_are_refused(case: str, graph: manifest_pb2.Graph) -> None:
    make, expected = ELEMENTS[case]
    assert violations(make(), graph) == expected


def narrow(dtype: manifest_pb2.DataType) -> manifest_pb2.Graph:
    return manifest_pb2.Graph(inputs=[manifest_pb2.TensorSpec(name="x", dtype=dtype, shape=[-1])])


@pytest.mark.parametrize(
    ("request_", "dtype", "field", "description"),
    [
        (
            raw_request("m", {"x": np.array([1, 0, 7], np.uint8)}), manifest_pb2.DATA_TYPE_BOOL,
            "raw_input_contents[0]", "input 'x' has the byte 7; BOOL allows 0 and 1",
        ),
        (
            typed_request("m", {"x": np.array([1, 300, 400], np.int64)}), manifest_pb2.DATA_TYPE_UINT8,
            "inputs[0].contents", "input 'x' has 300; UINT8 allows 0 up to 255",
        ),
    ],
)  # fmt: skip
def test_elements_outside_their_datatype_are_refused(
    request_: Request, dtype: manifest_pb2.DataType, field: str, description: str
) -> None:
    request = Request()
    request.CopyFrom(request_)
    tensor = request.inputs[0]
    tensor.datatype = "BOOL" if dtype == manifest_pb2.DATA_TYPE_BOOL else "UINT8"
    if not request.raw_input_contents:
        tensor.contents.uint_contents.extend(tensor.contents.int64_contents)
        tensor.contents.ClearField("int64_contents")
    assert violations(request, narrow(dtype)) == {field: description}


def test_a_sound_request_passes(tmp_path: Path, graph: manifest_pb2.Graph) -> None:
    for make in (raw_request, typed_request):
        request = make("shapes", GIVEN, ["image"])
        request.inputs[0].contents.SetInParent()  # as MLServer's client does beside raw tensors
        check_request(request, graph, LIMITS)
        rows = read_rows(request, graph)
        assert rows.keys() == GIVEN.keys()
        for name, tensor in GIVEN.items():
            np.testing.assert_array_equal(rows[name], tensor, strict=True)
