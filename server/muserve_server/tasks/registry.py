"""Which task kinds are installed: the entry points of the group "muserve.tasks". Broken ones are passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from muserve.bundle import NAME_PATTERN, NAME_RULE, ManifestError
from muserve.configuration import ConfigurationError, nearest, option_names
from muserve.v1 import common_pb2
from muserve_server.tasks.kind import TaskKind

__all__ = ["GROUP", "Kinds", "find_kinds", "installed_kinds"]

GROUP = "muserve.tasks"
_OWN_PACKAGE = "muserve_server."


class KindError(Exception):
    """An entry point that names no usable task kind."""


class Kinds(Mapping[str, TaskKind]):
    """Task kinds by name, in the order in which they were found."""

    def __init__(
        self,
        kinds: Iterable[TaskKind],
        problems: Mapping[str, str] | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        """Stores its parts.

        Args:
            kinds: The kinds that can be used.
            problems: By the name of the entry point, why one cannot; the text names its distribution.
            origins: Distributions by the names of their kinds.
        """
        self._kinds = {kind.name: kind for kind in kinds}
        self._origins = origins or {}
        self.problems: Mapping[str, str] = problems or {}

    def __getitem__(self, name: str) -> TaskKind:
        return self._kinds[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def named(self, name: str) -> TaskKind:
        """Returns the kind that serves a bundle.

        Raises:
            ManifestError: It is not installed, or cannot be used; says how a kind is installed.
        """
        if name in self._kinds:
            return self._kinds[name]
        if name in self.problems:
            raise ManifestError(f"its task kind {name!r} cannot be used here: {self.problems[name]}")
        raise ManifestError(
            f"its task kind {name!r} is not installed here; install the package that brings it (one with the entry "
            f"point {name!r} in the group {GROUP!r}) and start again. Installed: {', '.join(self._kinds) or 'none'}"
        )

    def origin(self, name: str) -> str:
        """Returns the name of the distribution that brings a kind."""
        return self._origins.get(name, "unknown")

    def with_kind(self, kind: TaskKind) -> Kinds:
        """Returns the same kinds with one added, or put in place of the one of its name."""
        return Kinds([*(own for own in self.values() if own.name != kind.name), kind], self.problems, self._origins)

    def without(self, problems: Mapping[str, str]) -> Kinds:
        """Returns the kinds but for some, and why: a reason by name."""
        return Kinds(
            [kind for kind in self.values() if kind.name not in problems], {**self.problems, **problems}, self._origins
        )

    def limits(self, **values: Any) -> dict[str, Any]:
        """Returns the limits of every kind by the kind's name.

        Args:
            values: Limits by their own names, each for all kinds that have it; defaults for the rest.

        Raises:
            ConfigurationError: No kind has such a limit.
        """
        names = {name for kind in self.values() for name in option_names(kind.limits)}
        for name in values:
            if name not in names:
                raise ConfigurationError(f"unknown limit {name!r}; {nearest(name, sorted(names))}")
        return {
            kind.name: kind.limits(**{name: values[name] for name in option_names(kind.limits) if name in values})
            for kind in self.values()
        }


@cache
def installed_kinds() -> Kinds:
    """Returns the task kinds of this environment. Looked for once a process."""
    return find_kinds(entry_points(group=GROUP))


def find_kinds(found: Iterable[EntryPoint]) -> Kinds:
    """Loads and checks entry points.

    Args:
        found: In any order. Where two clash, Muserve's own wins, else the first by its distribution's name.

    Returns:
        The kinds that can be used, and what is wrong with the others.
    """
    kinds: dict[str, TaskKind] = {}
    origins: dict[str, str] = {}
    problems: dict[str, str] = {}
    for entry in sorted(
        found, key=lambda entry: (not entry.value.startswith(_OWN_PACKAGE), _origin(entry), entry.name)
    ):
        try:
            kind = _load(entry)
            _check_clashes(kind, kinds, origins)
        except Exception as error:  # noqa: BLE001 - a package's import may raise anything, and must not stop the others
            reason = str(error) if isinstance(error, KindError) else f"its import failed ({error!r})"
            name = entry.name if entry.name not in kinds else f"{entry.name} of {_origin(entry)}"
            problems[name] = f"entry point {entry.name!r} of the distribution {_origin(entry)!r}: {reason}"
        else:
            kinds[kind.name] = kind
            origins[kind.name] = _origin(entry)
    return Kinds(kinds.values(), problems, origins)


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _load(entry: EntryPoint) -> TaskKind:
    kind = entry.load()
    if not isinstance(kind, TaskKind):
        raise KindError(f"{entry.value} is {type(kind).__name__}; it must be a muserve_server.tasks.TaskKind")
    if kind.name != entry.name:
        raise KindError(f"the kind calls itself {kind.name!r}; entry point and kind must have the same name")
    if not NAME_PATTERN.fullmatch(kind.name):
        raise KindError(f"the name is {kind.name!r}; allowed: {NAME_RULE}")
    if not isinstance(kind.limits, type) or not dataclasses.is_dataclass(kind.limits):
        raise KindError(f"its limits are {kind.limits!r}; they must be a dataclass")
    if kind.service is not None:
        _check_service(kind.service)
    return kind


def _check_service(service: ServiceDescriptor) -> None:
    requests = [method.input_type.full_name for method in service.methods]
    if len(set(requests)) < len(requests):
        raise KindError(f"{service.full_name} uses one request message for two methods; give each its own")
    for method in service.methods:
        where = f"{service.full_name}.{method.name}"
        if method.client_streaming or method.server_streaming:
            raise KindError(f"{where} streams; only unary methods are served")
        model = method.input_type.fields_by_name.get("model")
        if model is None or model.type != FieldDescriptor.TYPE_STRING:
            raise KindError(f"the request of {where} needs the field `string model`")
        version = method.input_type.fields_by_name.get("version")
        if version is None or version.type != FieldDescriptor.TYPE_UINT32 or not version.has_presence:
            raise KindError(f"the request of {where} needs the field `optional uint32 version`")
        info = method.output_type.fields_by_name.get("info")
        if info is None or info.message_type is not common_pb2.ResponseInfo.DESCRIPTOR:
            raise KindError(f"the response of {where} needs the field `muserve.v1.ResponseInfo info`")


def _check_clashes(kind: TaskKind, kinds: Mapping[str, TaskKind], origins: Mapping[str, str]) -> None:
    if kind.name in kinds:
        raise KindError(f"the distribution {origins[kind.name]!r} brings a kind of this name already; uninstall one")
    for other in kinds.values():
        if kind.service and other.service and kind.service.full_name == other.service.full_name:
            raise KindError(
                f"the kind {other.name!r} of the distribution {origins[other.name]!r} has the service "
                f"{kind.service.full_name} already; uninstall one"
            )
