"""Which calls are installed: the entry points of the group "muserve.calls". Broken ones are passed over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from muserve_client.calls.kind import Calls, Command
from muserve_client.calls.probes import Probe

__all__ = ["GROUP", "Installed", "find_calls", "installed_calls"]

GROUP = "muserve.calls"
_OWN_PACKAGE = "muserve_client."


@dataclass(frozen=True)
class Installed:
    """What was found."""

    calls: Sequence[Calls]
    """The calls that can be used, those of Muserve first."""
    problems: Sequence[str]
    """What is wrong with the others; each names its distribution."""

    @property
    def commands(self) -> list[Command]:
        """The subcommands of all calls."""
        return [command for calls in self.calls for command in calls.commands]

    @property
    def probes(self) -> list[Probe]:
        """The probes of all calls."""
        return [probe for calls in self.calls for probe in calls.probes]


def installed_calls() -> Installed:
    """Finds the calls of this environment."""
    return find_calls(entry_points(group=GROUP))


def find_calls(found: Iterable[EntryPoint]) -> Installed:
    """Loads and checks entry points.

    Args:
        found: In any order. Of two that have a name or a command in common Muserve's own wins, else the first by its
            distribution's name.
    """
    calls: list[Calls] = []
    owners: dict[str, str] = {}
    problems: list[str] = []
    for entry in sorted(
        found, key=lambda entry: (not entry.value.startswith(_OWN_PACKAGE), _origin(entry), entry.name)
    ):
        try:
            loaded = entry.load()
            reason = _objection(loaded, entry.name, owners)
        except Exception as error:  # noqa: BLE001 - a package's import may raise anything, and must not stop the others
            reason = f"its import failed ({error!r})"
        if reason:
            problems.append(f"entry point {entry.name!r} of the distribution {_origin(entry)!r}: {reason}")
            continue
        calls.append(loaded)
        owners |= dict.fromkeys(_names(loaded), _origin(entry))
    return Installed(calls, problems)


def _objection(loaded: object, name: str, owners: dict[str, str]) -> str:
    """Says why what an entry point names cannot be used; "" if it can."""
    if not isinstance(loaded, Calls):
        return f"it names a {type(loaded).__name__}; it must be a muserve_client.calls.Calls"
    if loaded.name != name:
        return f"the calls are named {loaded.name!r}; entry point and calls must have the same name"
    for taken in _names(loaded):
        if taken in owners:
            return f"the distribution {owners[taken]!r} brings {taken} already; uninstall one"
    return ""


def _names(calls: Calls) -> list[str]:
    return [f"calls named {calls.name!r}", *(f"a command `muserve {command.name}`" for command in calls.commands)]


def _rank(entry: EntryPoint) -> tuple[bool, str, str]:
    return (not entry.value.startswith(_OWN_PACKAGE), _origin(entry), entry.name)


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"
