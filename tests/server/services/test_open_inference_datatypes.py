"""Every datatype of the protocol: what is written raw or typed is read back as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from muserve.inference import infer_pb2, model_config_pb2
from muserve.v1 import manifest_pb2
from muserve_server.services.open_inference.datatypes import DATATYPES, datatype_of

TYPED = [name for name, datatype in DATATYPES.items() if datatype.contents]


def tensors(name: str) -> st.SearchStrategy[Any]:
    shapes = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)
    return arrays.arrays(DATATYPES[name].dtype, shapes)


@pytest.mark.parametrize("name", DATATYPES)
@given(data=st.data())
def test_raw_elements_come_back_as_the_same_bytes(name: str, data: st.DataObject) -> None:
    datatype, tensor = DATATYPES[name], data.draw(tensors(name))
    raw = datatype.to_raw(tensor)
    assert len(raw) == tensor.size * datatype.dtype.itemsize
    flat = datatype.from_raw(raw)
    assert flat.dtype == datatype.dtype
    assert flat.reshape(tensor.shape).tobytes() == tensor.tobytes()


@pytest.mark.parametrize("name", TYPED)
@given(data=st.data())
def test_typed_elements_come_back_through_the_wire(name: str, data: st.DataObject) -> None:
    datatype, tensor = DATATYPES[name], data.draw(tensors(name))
    sent = datatype.to_contents(tensor).SerializeToString()
    contents = infer_pb2.InferTensorContents.FromString(sent)
    assert [field.name for field, _ in contents.ListFields()] == [datatype.contents]
    np.testing.assert_array_equal(datatype.from_contents(contents), tensor.ravel(), strict=True)


@pytest.mark.parametrize("turned", [np.transpose, np.flip])
def test_elements_are_written_row_by_row_however_they_lie_in_memory(turned: Any) -> None:
    tensor = turned(np.arange(12, dtype=np.int32).reshape(3, 4))
    datatype = DATATYPES["INT32"]
    assert datatype.to_raw(tensor) == np.ascontiguousarray(tensor).tobytes()
    assert list(datatype.to_contents(tensor).int_contents) == tensor.ravel().tolist()


def test_raw_elements_are_little_endian() -> None:
    assert DATATYPES["INT32"].to_raw(np.array([1])) == b"\x01\0\0\0"
    assert DATATYPES["FP16"].to_raw(np.array([1.0])) == b"\x00\x3c"


def test_every_element_type_of_a_manifest_has_a_datatype() -> None:
    for number in manifest_pb2.DataType.values():
        if number != manifest_pb2.DATA_TYPE_UNSPECIFIED:
            datatype = datatype_of(manifest_pb2.TensorSpec(dtype=manifest_pb2.DataType.Name(number)))
            assert model_config_pb2.DataType.Value(f"TYPE_{datatype.name}")
