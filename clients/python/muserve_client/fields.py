"""What a request can carry at all: values that cannot be encoded are refused here, all others by the server."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Iterable
from typing import Any

from muserve.errors import FieldViolation, InvalidRequestError

__all__ = ["Fields"]


class Fields:
    """Turns arguments into field values of a request, and collects those that no request can carry."""

    def __init__(self) -> None:
        self._wrong: list[FieldViolation] = []

    def whole(self, name: str, value: Any, *, bits: int) -> int:
        """Takes an unsigned integer of so many bits; NumPy's integers too."""
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
        """Takes numbers; a single one counts as a list of one."""
        if isinstance(values, numbers.Real):
            values = [values]
        if isinstance(values, str) or not isinstance(values, Iterable):
            self.refuse(name, f"is {_shown(values)}; allowed: a list of numbers, as in [0.1, 0.9]")
            return []
        return [self.real(f"{name}[{index}]", value) for index, value in enumerate(values)]

    def text(self, name: str, value: Any) -> str:
        """Takes a text that has a UTF-8 form."""
        if not isinstance(value, str):
            self.refuse(name, f"is {_shown(value)}; allowed: text, as in {str(value)!r}")
            return ""
        if any("\ud800" <= character <= "\udfff" for character in value):
            self.refuse(name, f"is {value!r}; lone surrogates cannot be sent, only Unicode text")
            return ""
        return value

    def texts(self, name: str, values: Any) -> list[str]:
        """Takes texts; a single text counts as a list of one."""
        if isinstance(values, str):
            values = [values]
        if not isinstance(values, Iterable):
            self.refuse(name, f"is {_shown(values)}; allowed: a list of texts, as in [{str(values)!r}]")
            return []
        return [self.text(f"{name}[{index}]", value) for index, value in enumerate(values)]

    def refuse(self, name: str, description: str) -> None:
        """Notes a field that cannot be sent."""
        self._wrong.append(FieldViolation(name, description))

    def check(self) -> None:
        """Ends the taking of arguments.

        Raises:
            InvalidRequestError: Names every field that was refused.
        """
        if self._wrong:
            raise InvalidRequestError(violations=self._wrong)


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
