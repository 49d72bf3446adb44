"""Which task kinds are installed: the entry points of the group "muserve.tasks". Broken ones are passed over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor

from muserve.bundle import NAME_PATTERN, NAME_RULE, ManifestError
from muserve.configuration import ConfigurationError, nearest, option_names
from muserve.plugins import PluginError, Plugins, find_plugins
from muserve.v1 import common_pb2
from muserve_server.tasks.kind import TaskKind

__all__ = ["GROUP", "Kinds", "find_kinds", "installed_kinds"]

GROUP = "muserve.tasks"
_OWN_PACKAGE = "muserve_server."


class Kinds(Plugins[TaskKind]):
    """Task kinds by name, in the order in which they were found."""

    def named(self, name: str) -> TaskKind:
        """Returns the kind that serves a bundle.

        Raises:
            ManifestError: It is not installed, or cannot be used; says how a kind is installed.
        """
        if name in self:
            return self[name]
        if name in self.problems:
            raise ManifestError(f"its task kind {name!r} cannot be used here: {self.problems[name]}")
        raise ManifestError(
            f"its task kind {name!r} is not installed here; install the package that brings it (one with the entry "
            f"point {name!r} in the group {GROUP!r}) and start again. Installed: {', '.join(self) or 'none'}"
        )

    def with_kind(self, kind: TaskKind) -> Kinds:
        """Returns the same kinds with one added, or put in place of the one of its name."""
        return Kinds({**self, kind.name: kind}, self.problems, self.origins)

    def without(self, problems: Mapping[str, str]) -> Kinds:
        """Returns the kinds but for some, and why: a reason by name."""
        left = {name: kind for name, kind in self.items() if name not in problems}
        return Kinds(left, {**self.problems, **problems}, self.origins)

    def origin_of(self, service: ServiceDescriptor) -> str:
        """Returns the name of the distribution that brings a service."""
        return next((self.origin(name) for name, kind in self.items() if kind.service is service), "muserve-server")

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
    kinds = find_plugins(found, own_package=_OWN_PACKAGE, check=_checked)
    return Kinds(kinds, kinds.problems, kinds.origins)


def _checked(entry: EntryPoint, kind: object, before: Plugins[TaskKind]) -> TaskKind:
    if not isinstance(kind, TaskKind):
        raise PluginError(f"{entry.value} is {type(kind).__name__}; it must be a muserve_server.tasks.TaskKind")
    if kind.name != entry.name:
        raise PluginError(f"the kind calls itself {kind.name!r}; entry point and kind must have the same name")
    if not NAME_PATTERN.fullmatch(kind.name):
        raise PluginError(f"the name is {kind.name!r}; allowed: {NAME_RULE}")
    if not isinstance(kind.limits, type) or not dataclasses.is_dataclass(kind.limits):
        raise PluginError(f"its limits are {kind.limits!r}; they must be a dataclass")
    try:
        option_names(kind.limits)
        kind.limits()
    except Exception as error:
        raise PluginError(f"its limits {kind.limits.__name__} cannot be made without values ({error!r})") from error
    if kind.service is not None and not isinstance(kind.service, ServiceDescriptor):
        raise PluginError(f"its service is {kind.service!r}; it must be a protobuf ServiceDescriptor")
    if kind.service is not None:
        _check_service(kind.service)
        for name, other in before.items():
            if other.service and kind.service.full_name == other.service.full_name and name != kind.name:
                raise PluginError(
                    f"the kind {name!r} of the distribution {before.origin(name)!r} has the service "
                    f"{kind.service.full_name} already; uninstall one"
                )
    return kind


def _check_service(service: ServiceDescriptor) -> None:
    requests = [method.input_type.full_name for method in service.methods]
    if len(set(requests)) < len(requests):
        raise PluginError(f"{service.full_name} uses one request message for two methods; give each its own")
    for method in service.methods:
        where = f"{service.full_name}.{method.name}"
        if method.client_streaming or method.server_streaming:
            raise PluginError(f"{where} streams; only unary methods are served")
        model = method.input_type.fields_by_name.get("model")
        if model is None or model.type != FieldDescriptor.TYPE_STRING:
            raise PluginError(f"the request of {where} needs the field `string model`")
        version = method.input_type.fields_by_name.get("version")
        if version is None or version.type != FieldDescriptor.TYPE_UINT32 or not version.has_presence:
            raise PluginError(f"the request of {where} needs the field `optional uint32 version`")
        info = method.output_type.fields_by_name.get("info")
        if info is None or info.message_type is not common_pb2.ResponseInfo.DESCRIPTOR:
            raise PluginError(f"the response of {where} needs the field `muserve.v1.ResponseInfo info`")
