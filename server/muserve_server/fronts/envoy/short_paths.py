"""The short paths of methods: their annotations `google.api.http`, as far as Envoy takes them.

Envoy refuses a configuration with two equal paths, or with one that it cannot read, and then nothing is served. A
plug-in must not bring that about, so what Envoy would refuse is passed over here, and why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

__all__ = ["Passed", "ShortPaths", "find_short_paths", "long_path"]

_LITERAL = r"[A-Za-z0-9_~.-]+"
_PART = rf"(?:\*|{_LITERAL})"
_FIELD = r"[a-z]\w*(?:\.[a-z]\w*)*"
_VARIABLE = re.compile(rf"\{{({_FIELD})(?:=({_PART}(?:/{_PART})*))?\}}")
_PATH = re.compile(rf"(?:/(?:{_PART}|{_VARIABLE.pattern}))+(?::{_LITERAL})?")
_ALLOWED = "/v1/things, /v1/things:verb or, for get, /v1/things/{field}"


@dataclass(frozen=True)
class Passed:
    """A path that is not served."""

    service: ServiceDescriptor
    """Whose it is."""
    path: str
    """As it is written."""
    reason: str
    """Why it is not served."""


@dataclass(frozen=True)
class ShortPaths:
    """The paths beside `POST /<service>/<method>`."""

    gets: Mapping[str, Sequence[str]]
    """Paths of GET by the full name of their method."""
    posts: Mapping[str, Sequence[str]]
    """Paths of POST by the full name of their method."""
    passed: Sequence[Passed]
    """Those that are not served."""


def long_path(method: MethodDescriptor) -> str:
    """Returns the path that each method has: that of gRPC."""
    return f"/{method.containing_service.full_name}/{method.name}"


def find_short_paths(services: Iterable[ServiceDescriptor]) -> ShortPaths:
    """Reads the annotations of services. Where two have the same path, the first of them has it."""
    methods = [method for service in services for method in service.methods if not method.client_streaming]
    owners = {("post", long_path(method)): method.full_name for method in methods}
    found: dict[str, dict[str, list[str]]] = {"get": {}, "post": {}}
    passed = []
    for method in methods:
        for rule in _rules(method):
            verb = rule.WhichOneof("pattern") or "none"
            path = getattr(rule, verb, "") if verb != "custom" else rule.custom.path
            reason = _why_not(rule, verb, path, method)
            place = (verb, _shape(path))
            if not reason and place in owners:
                reason = f"{owners[place]} has it already"
            if reason:
                passed.append(Passed(method.containing_service, path, f"{method.full_name}: {reason}"))
                continue
            owners[place] = method.full_name
            found[verb].setdefault(method.full_name, []).append(path)
    return ShortPaths(found["get"], found["post"], passed)


def _rules(method: MethodDescriptor) -> list[http_pb2.HttpRule]:
    options = method.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return []
    rule = options.Extensions[annotations_pb2.http]
    return [rule, *rule.additional_bindings]


def _why_not(rule: http_pb2.HttpRule, verb: str, path: str, method: MethodDescriptor) -> str:
    if verb not in ("get", "post"):
        return f"its verb is {verb}; allowed: get and post"
    if not _PATH.fullmatch(path):
        return f"the path cannot be read; allowed: {_ALLOWED}"
    if rule.response_body:
        return "response_body is not supported"
    fields = [name for name, _ in _VARIABLE.findall(path)]
    if verb == "post":
        if fields:
            return "a post takes no fields from its path; its body has them all"
        return "" if rule.body == "*" else f'body is {rule.body!r}; allowed for post: "*"'
    if rule.body:
        return f"body is {rule.body!r}; a get has none"
    if len(set(fields)) < len(fields):
        return "one field is in its path twice"
    unknown = [name for name in fields if not _is_plain(name, method.input_type)]
    return f"{method.input_type.full_name} has no single plain field {unknown[0]}" if unknown else ""


def _is_plain(path: str, message: Descriptor | None) -> bool:
    """Says whether a path of fields leads to one number, text or the like."""
    name, _, rest = path.partition(".")
    field = message.fields_by_name.get(name) if message else None
    if field is None or field.is_repeated:
        return False
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return bool(rest) and _is_plain(rest, field.message_type)
    return not rest and field.type != FieldDescriptor.TYPE_GROUP


def _shape(path: str) -> str:
    """Returns what two paths have in common that match the same requests."""
    return _VARIABLE.sub(lambda variable: variable[2] or "*", path)
