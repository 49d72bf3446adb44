"""Reads requests in JSON, strictly: what protobuf's own reader lets pass would be lost without a word."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from muserve.errors import FieldViolation, InvalidRequestError

__all__ = ["read_json"]

Read = TypeVar("Read", bound=Message)

_NOT_BASE64 = "is not base64; allowed: base64 of the bytes, as `base64 -w0 FILE` writes"


def read_json(data: bytes, message: Read) -> Read:
    """Reads a request.

    Args:
        data: An object in the JSON of protobuf: names in snake_case or camelCase, 64-bit numbers as strings or numbers,
            bytes as base64. Nothing at all stands for an empty object.
        message: An empty message.

    Returns:
        The message.

    Raises:
        InvalidRequestError: It is not JSON, or not of this message; says where.
    """
    name = message.DESCRIPTOR.full_name
    try:
        content = json.loads(data.decode(), object_pairs_hook=_without_repeats) if data.strip() else {}
        _check_surrogates(data, content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise InvalidRequestError(f"the body is not a JSON object; it must be one with the fields of {name}")
    violations = list(_violations(content, message.DESCRIPTOR, ""))
    if violations:
        raise InvalidRequestError(violations=violations)
    try:
        return json_format.ParseDict(content, message)
    except (json_format.ParseError, RecursionError) as error:
        raise InvalidRequestError(f"the body is not a {name}: {' '.join(str(error).split())}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a field is there twice")
    return content


def _check_surrogates(data: bytes, content: Any) -> None:
    r"""Raises UnicodeEncodeError, a ValueError, if a text has half of a pair: "\ud800", which no message can carry."""
    if b"\\ud" in data or b"\\uD" in data:
        json.dumps(content, ensure_ascii=False).encode()


def _violations(content: Any, descriptor: Any, path: str) -> Iterator[FieldViolation]:
    """Finds what protobuf's reader lets pass.

    Of a field in both of its spellings it takes the last, and of what should be base64 it drops every other letter.
    """
    if not isinstance(content, dict):
        return
    fields = {**descriptor.fields_by_camelcase_name, **descriptor.fields_by_name}
    seen: set[str] = set()
    for key, value in content.items():
        field = fields.get(key)
        if field is None:
            continue
        if field.name in seen:
            yield FieldViolation(f"{path}{field.name}", f"is there twice, as {field.name} and {field.camelcase_name}")
        seen.add(field.name)
        if field.type == FieldDescriptor.TYPE_BYTES:
            for place, item in _items(value, f"{path}{field.name}"):
                if not _is_base64(item):
                    yield FieldViolation(place, _NOT_BASE64)
        elif field.message_type is not None:
            for place, item in _items(value, f"{path}{field.name}"):
                yield from _violations(item, field.message_type, f"{place}.")


def _items(value: Any, path: str) -> list[tuple[str, Any]]:
    return [(f"{path}[{i}]", item) for i, item in enumerate(value)] if isinstance(value, list) else [(path, value)]


def _is_base64(value: Any) -> bool:
    if not isinstance(value, str):
        return value is None
    text = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True
