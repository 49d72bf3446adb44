"""Finds what other packages add to Muserve by entry points; a broken one is passed over, and its distribution named.

PluginError    an entry point names something that cannot be used; the text says why
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from typing import Any, Generic, TypeVar

__all__ = ["PluginError", "Plugins", "find_plugins", "origin_of"]

Plugin = TypeVar("Plugin")


class PluginError(Exception):
    """What an entry point names cannot be used. The text says why."""


class Plugins(Mapping[str, Plugin], Generic[Plugin]):
    """What was found, by name: Muserve's own first."""

    def __init__(
        self, found: Mapping[str, Plugin], problems: Mapping[str, str] | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Stores its parts.

        Args:
            found: What can be used.
            problems: By the name of the entry point, why one cannot be used; the text names its distribution.
            origins: Distributions by name of what was found.
        """
        self._found = dict(found)
        self.origins: Mapping[str, str] = origins or {}
        self.problems: Mapping[str, str] = problems or {}

    def __getitem__(self, name: str) -> Plugin:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def origin(self, name: str) -> str:
        """Returns the name of the distribution that brings one."""
        return self.origins.get(name, "unknown")


def find_plugins(
    entries: Iterable[EntryPoint], *, own_package: str, check: Callable[[EntryPoint, Any, Plugins[Any]], Plugin]
) -> Plugins[Plugin]:
    """Loads entry points.

    Args:
        entries: In any order. Where two clash, Muserve's own wins, else the first by its distribution's name.
        own_package: What values of Muserve's own begin with: "muserve_server.".
        check: Takes an entry point, what it names, and what was found before; returns what is to be used, or raises
            PluginError.
    """
    found: dict[str, Plugin] = {}
    problems: dict[str, str] = {}
    origins: dict[str, str] = {}

    def rank(entry: EntryPoint) -> tuple[bool, str, str]:
        return (not entry.value.startswith(own_package), origin_of(entry), entry.name)

    for entry in sorted(entries, key=rank):
        origin = origin_of(entry)
        try:
            step = "its import failed"
            loaded = entry.load()
            step = "it cannot be used"
            if entry.name in found:
                raise PluginError(
                    f"the distribution {origins[entry.name]!r} brings one of this name already; uninstall one"
                )
            plugin = check(entry, loaded, Plugins(found, problems, origins))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a package may raise anything, and must not stop others
            reason = str(error) if isinstance(error, PluginError) else f"{step} ({error!r})"
            name = f"{entry.name} of {origin}" if entry.name in found or entry.name in problems else entry.name
            problems[name] = f"entry point {entry.name!r} of the distribution {origin!r}: {reason}"
        else:
            found[entry.name], origins[entry.name] = plugin, origin
    return Plugins(found, problems, origins)


def origin_of(entry: EntryPoint) -> str:
    """Returns the name of the distribution that brings an entry point."""
    return entry.dist.name if entry.dist else "unknown"
