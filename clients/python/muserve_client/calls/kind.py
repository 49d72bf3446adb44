"""What one package adds to the client: commands of `muserve`, and how `muserve verify` checks its models."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muserve_client.calls.probes import Probe

__all__ = ["Calls", "Command"]


@dataclass(frozen=True)
class Command:
    """One subcommand of `muserve`."""

    name: str
    """"images"."""
    description: str
    """One line, which `muserve --help` shows."""
    add_flags: Callable[[argparse.ArgumentParser], None]
    """Adds its flags; those of the connection are there already."""
    run: Callable[[argparse.Namespace], int]
    """Runs it and returns the exit code. What it raises of `MuserveError`, ConfigurationError and OSError is told."""


@dataclass(frozen=True)
class Calls:
    """The calls of one task, as an entry point of the group "muserve.calls" names them."""

    name: str
    """Name of the entry point, by custom that of the task: "image"."""
    commands: Sequence[Command] = ()
    """Its subcommands."""
    probes: Sequence[Probe] = ()
    """How its models are verified."""
