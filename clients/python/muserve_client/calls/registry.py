"""Which calls are installed: the entry points of the group "muserve.calls". Broken ones are passed over."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from muserve.plugins import PluginError, Plugins, find_plugins
from muserve_client.calls.kind import Calls, Command
from muserve_client.calls.probes import Probe

__all__ = ["GROUP", "Installed", "find_calls", "installed_calls"]

GROUP = "muserve.calls"
_OWN_PACKAGE = "muserve_client."


class Installed(Plugins[Calls]):
    """The calls of this environment by name, those of Muserve first."""

    @property
    def commands(self) -> list[Command]:
        """The subcommands of all calls."""
        return [command for calls in self.values() for command in calls.commands]

    @property
    def probes(self) -> list[Probe]:
        """The probes of all calls."""
        return [probe for calls in self.values() for probe in calls.probes]


def installed_calls() -> Installed:
    """Finds the calls of this environment."""
    return find_calls(entry_points(group=GROUP))


def find_calls(found: Iterable[EntryPoint]) -> Installed:
    """Loads and checks entry points.

    Args:
        found: In any order. Of two that have a name or a command in common Muserve's own wins, else the first by its
            distribution's name.
    """
    calls = find_plugins(found, own_package=_OWN_PACKAGE, check=_checked)
    return Installed(calls, calls.problems, calls.origins)


def _checked(entry: EntryPoint, calls: object, before: Plugins[Calls]) -> Calls:
    if not isinstance(calls, Calls):
        raise PluginError(f"it names a {type(calls).__name__}; it must be a muserve_client.calls.Calls")
    if calls.name != entry.name:
        raise PluginError(f"the calls are named {calls.name!r}; entry point and calls must have the same name")
    taken = {command.name: name for name, others in before.items() for command in others.commands}
    for command in calls.commands:
        if command.name in taken:
            origin = before.origin(taken[command.name])
            raise PluginError(
                f"the distribution {origin!r} brings a command `muserve {command.name}` already; uninstall one"
            )
    return calls
