"""Which calls are installed: the entry points of the group "muserve.calls". Broken ones are passed over."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from muserve.plugins import PluginError, Plugins, find_plugins
from muserve_client.calls.kind import Calls, Command
from muserve_client.calls.probes import Probe
from muserve_client.flags import add_connection_flags
from muserve_client.flows import GROUP

__all__ = ["GROUP", "Installed", "find_calls", "installed_calls"]

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
    for parts, expected in ((calls.commands, Command), (calls.probes, Probe)):
        for part in parts:
            if not isinstance(part, expected):
                raise PluginError(f"it brings {part!r}; that must be a muserve_client.calls.{expected.__name__}")
    taken = {command.name: name for name, others in before.items() for command in others.commands}
    names = [command.name for command in calls.commands]
    for command in calls.commands:
        what = f"a command `muserve {command.name}`"
        if command.name in taken:
            raise PluginError(
                f"the distribution {before.origin(taken[command.name])!r} brings {what} already; uninstall one"
            )
        if names.count(command.name) > 1:
            raise PluginError(f"it brings {what} twice")
        _try_flags(command)
    return calls


def _try_flags(command: Command) -> None:
    """Adds a command's flags to a parser of its own, so that what is wrong with them shows before `muserve` uses them.

    Raises:
        PluginError: They cannot be added.
    """
    parser = argparse.ArgumentParser()
    add_connection_flags(parser)
    try:
        command.add_flags(parser)
        parser.format_help()
    except Exception as error:
        raise PluginError(f"the flags of `muserve {command.name}` cannot be added ({error!r})") from error
    taken = {"command", "run"} & {action.dest for action in parser._actions}
    if taken:
        raise PluginError(f"`muserve {command.name}` has the flag --{taken.pop()}, a name that `muserve` needs itself")
