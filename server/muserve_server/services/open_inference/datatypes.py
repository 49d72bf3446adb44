"""The protocol's datatypes: how each is named, laid out in raw bytes, and spelled in typed contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.inference import infer_pb2
from muserve.v1 import manifest_pb2

__all__ = ["DATATYPES", "Datatype", "DatatypeError", "datatype_of"]


class DatatypeError(ValueError):
    """Elements are not what their datatype allows. The text goes on from "input 'x'"."""


@dataclass(frozen=True)
class Datatype:
    """One datatype."""

    name: str
    """As the protocol writes it: "FP32"."""
    dtype: np.dtype[Any]
    """Its elements in memory."""
    contents: str
    """The field of InferTensorContents that holds its elements; empty if they can only be sent raw."""

    def from_raw(self, data: bytes) -> NDArray[Any]:
        """Reads raw elements: a flat array on the bytes themselves, where this machine has the same byte order.

        Raises:
            DatatypeError: A byte is no BOOL.
        """
        if self.dtype == np.bool_:
            numbers = np.frombuffer(data, np.uint8)
            if (numbers > 1).any():
                raise DatatypeError(f"has the byte {numbers.max()}; BOOL allows 0 and 1")
            return numbers.view(np.bool_)
        return np.frombuffer(data, self.dtype.newbyteorder("<")).astype(self.dtype, copy=False)

    def to_raw(self, tensor: NDArray[Any]) -> bytes:
        """Writes a tensor's elements row-major and little-endian."""
        return tensor.astype(self.dtype.newbyteorder("<"), copy=False).tobytes()

    def from_contents(self, contents: infer_pb2.InferTensorContents) -> NDArray[Any]:
        """Reads typed elements: a flat array.

        Raises:
            DatatypeError: A number does not fit the datatype.
        """
        values = getattr(contents, self.contents)
        if self.dtype.kind in "iu" and self.dtype.itemsize < 4:  # they travel as 32-bit numbers
            numbers = np.fromiter(values, np.int64, len(values))
            allowed = np.iinfo(self.dtype)
            wrong = numbers[(numbers < allowed.min) | (numbers > allowed.max)]
            if len(wrong):
                raise DatatypeError(f"has {wrong[0]}; {self.name} allows {allowed.min} up to {allowed.max}")
            return numbers.astype(self.dtype)
        return np.fromiter(values, self.dtype, len(values))

    def to_contents(self, tensor: NDArray[Any]) -> infer_pb2.InferTensorContents:
        """Writes a tensor's elements as typed ones."""
        return infer_pb2.InferTensorContents(**{self.contents: tensor.ravel().tolist()})


def _datatype(name: str, dtype: Any, contents: str) -> Datatype:
    return Datatype(name, np.dtype(dtype), contents)


DATATYPES = {
    datatype.name: datatype
    for datatype in (
        _datatype("BOOL", np.bool_, "bool_contents"),
        _datatype("UINT8", np.uint8, "uint_contents"),
        _datatype("UINT16", np.uint16, "uint_contents"),
        _datatype("UINT32", np.uint32, "uint_contents"),
        _datatype("UINT64", np.uint64, "uint64_contents"),
        _datatype("INT8", np.int8, "int_contents"),
        _datatype("INT16", np.int16, "int_contents"),
        _datatype("INT32", np.int32, "int_contents"),
        _datatype("INT64", np.int64, "int64_contents"),
        _datatype("FP16", np.float16, ""),
        _datatype("FP32", np.float32, "fp32_contents"),
        _datatype("FP64", np.float64, "fp64_contents"),
    )
}
"""By name. BYTES is not among them: no bundle has such a tensor."""

_OF_MANIFEST = {
    manifest_pb2.DATA_TYPE_FLOAT32: "FP32",
    manifest_pb2.DATA_TYPE_INT64: "INT64",
    manifest_pb2.DATA_TYPE_INT32: "INT32",
    manifest_pb2.DATA_TYPE_BOOL: "BOOL",
    manifest_pb2.DATA_TYPE_UINT8: "UINT8",
}


def datatype_of(spec: manifest_pb2.TensorSpec) -> Datatype:
    """Returns the datatype of a graph's tensor."""
    return DATATYPES[_OF_MANIFEST[spec.dtype]]
