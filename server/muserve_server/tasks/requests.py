"""Checks of requests that several tasks share: they collect every wrong field, so that one refusal names them all."""

from __future__ import annotations

from typing import Any, NoReturn

from muserve.errors import MAX_FIELD_VIOLATIONS, FieldViolation, InvalidRequestError
from muserve_server.tasks import noise

__all__ = ["Violations", "refuse", "seed_of"]


class Violations:
    """Collects the wrong fields of one request."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []

    def __len__(self) -> int:
        """Number of refused fields: false while there are none."""
        return len(self._violations)

    @property
    def is_full(self) -> bool:
        """Whether as many fields were refused as an error names: further ones need not be looked for."""
        return len(self._violations) >= MAX_FIELD_VIOLATIONS

    def refuse(self, field: str, description: str) -> None:
        """Notes a wrong field.

        Args:
            field: Its path: "labels[3]".
            description: What came, what is allowed, how to fix it.
        """
        self._violations.append(FieldViolation(field, description))

    def check(self) -> None:
        """Ends the checks.

        Raises:
            InvalidRequestError: Fields were refused; names them.
        """
        if self._violations:
            self.fail()

    def fail(self) -> NoReturn:
        """Refuses the request.

        Raises:
            InvalidRequestError: Always; names the fields that were refused.
        """
        raise InvalidRequestError(violations=self._violations)

    def count(self, request: Any, *, default: int, maximum: int) -> int:
        """Takes the field count: 1 up to a maximum."""
        count = int(request.count) if request.HasField("count") else default
        if not 1 <= count <= maximum:
            self.refuse("count", f"is {count}; allowed: 1 up to {maximum}")
        return count

    def first_sample(self, request: Any, count: int) -> int:
        """Takes the field first_sample, whose samples end below 2^53."""
        if request.first_sample + count > noise.MAX_SAMPLE_INDEX:
            allowed = f"first_sample + count at most 2^53, with count {count}"
            self.refuse("first_sample", f"is {request.first_sample}; allowed: {allowed}")
        return int(request.first_sample)

    def member(self, field: str, value: int, enum: Any) -> None:
        """Checks that a number is a value of an enum, such as `image_pb2.ImageLayout`."""
        if value not in enum.values():
            self.refuse(field, f"is {value}; allowed: {', '.join(enum.keys())}")


def refuse(field: str, description: str, *, cause: Exception | None = None) -> NoReturn:
    """Refuses a request for one field alone.

    Raises:
        InvalidRequestError: Always.
    """
    raise InvalidRequestError(violations=[FieldViolation(field, description)]) from cause


def seed_of(request: Any) -> int:
    """Returns the request's seed, or draws one where it has none."""
    return int(request.seed) if request.HasField("seed") else noise.draw_seed()
