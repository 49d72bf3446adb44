"""Arguments to the fields of a request: values that cannot be encoded are refused here, all others by the server."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from muserve.errors import FieldViolation, InvalidRequestError

__all__ = ["Fields"]

_BITS = {FieldDescriptor.TYPE_UINT32: 32, FieldDescriptor.TYPE_UINT64: 64}


class Fields:
    """Turns arguments into field values of a request, and collects those that no request can carry."""

    def __init__(self) -> None:
        self._wrong: list[FieldViolation] = []

    def whole(self, name: str, value: Any, *, bits: int) -> int:
        """Takes an unsigned integer of `bits` bits; NumPy integers too."""
        try:
            number = operator.index(value)
        except TypeError:
            number = -1
        if isinstance(value, bool) or not 0 <= number < 2**bits:
            self.refuse(name, f"is {_shown(value)}; allowed: a whole number from 0 up to 2^{bits} - 1")
            return 0
        return number

    def real(self, name: str, value: Any) -> float:
        """Takes a number."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            self.refuse(name, f"is {_shown(value)}; allowed: a number")
            return 0.0
        return float(value)

    def reals(self, name: str, values: Any) -> list[float]:
        """Takes a list of numbers, or a single one."""
        if isinstance(values, numbers.Real):
            values = [values]
        if isinstance(values, str) or not isinstance(values, Iterable):
            self.refuse(name, f"is {_shown(values)}; allowed: a list of numbers, as in [0.1, 0.9]")
            return []
        return [self.real(f"{name}[{index}]", value) for index, value in enumerate(values)]

    def text(self, name: str, value: Any) -> str:
        """Takes text that can be encoded as UTF-8."""
        if not isinstance(value, str):
            self.refuse(name, f"is {_shown(value)}; allowed: text, as in {str(value)!r}")
            return ""
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(name, f"is {value!r}; lone surrogates cannot be sent, only Unicode text")
            return ""
        return value

    def texts(self, name: str, values: Any) -> list[str]:
        """Takes a list of texts, or a single one."""
        if isinstance(values, str):
            values = [values]
        if not isinstance(values, Iterable):
            self.refuse(name, f"is {_shown(values)}; allowed: a list of texts, as in [{str(values)!r}]")
            return []
        return [self.text(f"{name}[{index}]", value) for index, value in enumerate(values)]

    def fill(self, request: Message, **values: Any) -> None:
        """Writes arguments into the request's fields of the same names, as the types of the fields require.

        Args:
            request: Has fields of text, numbers and booleans, single or repeated; others are set by hand.
            values: By field. None leaves an optional field unset; a repeated field also takes a single value.
        """
        for name, value in values.items():
            field = request.DESCRIPTOR.fields_by_name[name]
            if field.is_repeated:
                take = self.texts if field.type == FieldDescriptor.TYPE_STRING else self.reals
                getattr(request, name).extend(take(name, () if value is None else value))
            elif value is not None or not field.has_presence:
                setattr(request, name, self._taken(field, value))

    def _taken(self, field: Any, value: Any) -> Any:
        """Takes a value as the type of its field wants it."""
        if field.type in _BITS:
            return self.whole(field.name, value, bits=_BITS[field.type])
        if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
            return self.real(field.name, value)
        if field.type == FieldDescriptor.TYPE_BOOL:
            return bool(value)
        return self.text(field.name, value)

    def refuse(self, name: str, description: str) -> None:
        """Records a field that cannot be sent."""
        self._wrong.append(FieldViolation(name, description))

    def check(self) -> None:
        """Raises if any field was refused.

        Raises:
            InvalidRequestError: Names every field that was refused.
        """
        if self._wrong:
            raise InvalidRequestError(violations=self._wrong)


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
