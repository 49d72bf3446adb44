"""From a request to rows: every check that the header allows first, then the elements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from muserve.inference import infer_pb2
from muserve.v1 import manifest_pb2
from muserve_server.rows import Rows
from muserve_server.services.open_inference.datatypes import DATATYPES, Datatype, DatatypeError, datatype_of
from muserve_server.services.open_inference.limits import TensorLimits
from muserve_server.tasks.requests import Violations

__all__ = ["check_request", "element_count", "read_rows"]

_SHARED_MEMORY = "tensors are sent in the call, not in shared memory; leave it out"
_NO_SEQUENCES = "graphs keep nothing from one call to the next; leave it out"
_REQUEST_PARAMETERS = dict.fromkeys(("sequence_id", "sequence_start", "sequence_end"), _NO_SEQUENCES)
_TENSOR_PARAMETERS = dict.fromkeys(
    ("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size"), _SHARED_MEMORY
)
_OUTPUT_PARAMETERS = _TENSOR_PARAMETERS | {"classification": "outputs come as they are, not as classes; leave it out"}
"""Parameters that would change the answer if they were obeyed. What is not named in these is ignored."""

_SHOWN = 8


def check_request(request: infer_pb2.ModelInferRequest, graph: manifest_pb2.Graph, limits: TensorLimits) -> None:
    """Checks all but the elements themselves. Allocates nothing.

    Raises:
        InvalidRequestError: Names each wrong field and tensor, what came, and what is allowed.
    """
    violations = Violations()
    _check_parameters("parameters", request.parameters, _REQUEST_PARAMETERS, violations)
    _check_inputs(request, graph, limits, violations)
    _check_outputs(request, graph, violations)
    violations.check()
    _check_raw(request, violations)
    _check_response_size(request, graph, limits, violations)
    violations.check()


def element_count(request: infer_pb2.ModelInferRequest) -> int:
    """Returns how many elements the inputs have together."""
    return sum(math.prod(tensor.shape) for tensor in request.inputs)


def read_rows(request: infer_pb2.ModelInferRequest, graph: manifest_pb2.Graph) -> Rows:
    """Reads the elements of a checked request.

    Raises:
        InvalidRequestError: An element is not what its datatype allows.
    """
    violations = Violations()
    specs = {spec.name: spec for spec in graph.inputs}
    rows = {}
    for index, tensor in enumerate(request.inputs):
        datatype = datatype_of(specs[tensor.name])
        try:
            if request.raw_input_contents:
                flat = datatype.from_raw(request.raw_input_contents[index])
            else:
                flat = datatype.from_contents(tensor.contents)
        except DatatypeError as error:
            violations.refuse(_contents_field(request, index), f"input {tensor.name!r} {error}")
        else:
            rows[tensor.name] = flat.reshape(tensor.shape)
    violations.check()
    return rows


def _check_parameters(
    field: str, parameters: Mapping[str, Any], refused: Mapping[str, str], violations: Violations
) -> None:
    for name, reason in refused.items():
        if name in parameters:
            violations.refuse(f"{field}[{name}]", reason)


def _check_inputs(
    request: infer_pb2.ModelInferRequest, graph: manifest_pb2.Graph, limits: TensorLimits, violations: Violations
) -> None:
    specs = {spec.name: spec for spec in graph.inputs}
    if len(request.inputs) > len(specs):
        violations.refuse("inputs", f"are {len(request.inputs)}; the graph has {_listed(specs)}, each once")
        return
    rows: dict[str, int] = {}
    for index, tensor in enumerate(request.inputs):
        field = f"inputs[{index}]"
        spec = specs.get(tensor.name)
        if spec is None or tensor.name in rows:
            what = f"is {tensor.name[:100]!r}" if spec is None else f"repeats {tensor.name!r}"
            violations.refuse(f"{field}.name", f"{what}; the graph has {_listed(specs)}, each once")
            continue
        rows[tensor.name] = tensor.shape[0] if tensor.shape else 0
        _check_parameters(f"{field}.parameters", tensor.parameters, _TENSOR_PARAMETERS, violations)
        _check_tensor(field, tensor, spec, limits, violations)
    missing = [name for name in specs if name not in rows]
    if missing and not violations:
        violations.refuse("inputs", f"lack {_listed(missing)}; the graph has {_listed(specs)}, each once")
    if len(set(rows.values())) > 1 and not violations:
        counts = ", ".join(f"{name} {count}" for name, count in rows.items())
        violations.refuse("inputs", f"have different numbers of rows ({counts}); each needs the same")


def _check_tensor(
    field: str,
    tensor: infer_pb2.ModelInferRequest.InferInputTensor,
    spec: manifest_pb2.TensorSpec,
    limits: TensorLimits,
    violations: Violations,
) -> None:
    name, datatype = spec.name, datatype_of(spec)
    if tensor.datatype != datatype.name:
        came = f"input {name!r} is {tensor.datatype[:20]!r}"
        violations.refuse(f"{field}.datatype", f"{came}; the graph takes {datatype.name!r}")
    shape = tensor.shape
    if len(shape) != len(spec.shape):
        came = f"input {name!r} has {len(shape)} dimensions, {_shown(shape)}"
        violations.refuse(f"{field}.shape", f"{came}; the graph takes {list(spec.shape)}, the rows first")
        return
    rows, free = (limits.max_rows, "max_samples_per_call"), (limits.max_free_size, "max_free_size")
    for axis, (size, expected) in enumerate(zip(shape, spec.shape, strict=True)):
        came = f"input {name!r} is {_shown(shape)}"
        maximum, setting = free if axis else rows
        if expected >= 0 and size != expected:
            violations.refuse(f"{field}.shape[{axis}]", f"{came}; the graph takes {list(spec.shape)}")
        elif expected < 0 and not 1 <= size <= maximum:
            allowed = f"1 up to {maximum} (the server's setting {setting})"
            violations.refuse(f"{field}.shape[{axis}]", f"{came}; allowed in dimension {axis}: {allowed}")


def _check_outputs(request: infer_pb2.ModelInferRequest, graph: manifest_pb2.Graph, violations: Violations) -> None:
    specs = {spec.name: spec for spec in graph.outputs}
    if len(request.outputs) > len(specs):
        violations.refuse("outputs", f"are {len(request.outputs)}; the graph has {_listed(specs)}, each at most once")
        return
    wanted = set()
    for index, output in enumerate(request.outputs):
        _check_parameters(f"outputs[{index}].parameters", output.parameters, _OUTPUT_PARAMETERS, violations)
        if output.name not in specs or output.name in wanted:
            came = f"repeats {output.name!r}" if output.name in wanted else f"is {output.name[:100]!r}"
            violations.refuse(f"outputs[{index}].name", f"{came}; the graph has {_listed(specs)}, each at most once")
        wanted.add(output.name)


def _check_raw(request: infer_pb2.ModelInferRequest, violations: Violations) -> None:
    """Checks that there are as many elements as the shapes say; these are checked already."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        violations.refuse("raw_input_contents", f"has {len(raw)} entries; it needs one for each of the inputs")
        return
    for index, tensor in enumerate(request.inputs):
        datatype, elements = DATATYPES[tensor.datatype], math.prod(tensor.shape)
        what = f"input {tensor.name!r}, {tensor.datatype} {_shown(tensor.shape)},"
        if raw:
            needed = elements * datatype.dtype.itemsize
            if tensor.contents.ListFields():  # there are clients that send an empty message beside raw tensors
                violations.refuse(f"inputs[{index}].contents", "is there beside raw_input_contents; send one of them")
            elif len(raw[index]) != needed:
                violations.refuse(_contents_field(request, index), f"{what} has {len(raw[index])} bytes, not {needed}")
        else:
            _check_contents(index, tensor, datatype, f"{what} has", violations)


def _check_contents(
    index: int,
    tensor: infer_pb2.ModelInferRequest.InferInputTensor,
    datatype: Datatype,
    what: str,
    violations: Violations,
) -> None:
    field, elements = f"inputs[{index}].contents", math.prod(tensor.shape)
    given = {descriptor.name: len(values) for descriptor, values in tensor.contents.ListFields()}
    if not datatype.contents:
        violations.refuse(field, f"{datatype.name} has no typed contents; send it in raw_input_contents")
    elif set(given) - {datatype.contents}:
        violations.refuse(field, f"{what} elements in {_listed(given)}; {datatype.name} takes {datatype.contents}")
    elif given.get(datatype.contents, 0) != elements:
        violations.refuse(field, f"{what} {given.get(datatype.contents, 0)} elements, not {elements}")


def _check_response_size(
    request: infer_pb2.ModelInferRequest, graph: manifest_pb2.Graph, limits: TensorLimits, violations: Violations
) -> None:
    """Refuses what cannot be sent back before it is computed. Free sizes count as 1: they are not known yet."""
    wanted = {output.name for output in request.outputs}
    row_bytes = sum(
        math.prod(max(1, size) for size in spec.shape[1:]) * datatype_of(spec).dtype.itemsize
        for spec in graph.outputs
        if not wanted or spec.name in wanted
    )
    rows, most = request.inputs[0].shape[0], limits.max_response_bytes
    if rows * row_bytes > most:
        violations.refuse(
            "inputs",
            f"have {rows} rows, which give {rows * row_bytes} bytes or more; this server sends at most {most} (its "
            f"setting max_message_mib): send at most {most // row_bytes} rows a call, or ask for fewer outputs",
        )


def _contents_field(request: infer_pb2.ModelInferRequest, index: int) -> str:
    return f"raw_input_contents[{index}]" if request.raw_input_contents else f"inputs[{index}].contents"


def _listed(names: Any) -> str:
    return ", ".join(names)


def _shown(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape[:_SHOWN]))}{', …' if len(shape) > _SHOWN else ''}]"
