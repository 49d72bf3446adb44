"""Prints what the Muserve that this process imports offers to scripts, as JSON: no test imports this.

python surface.py
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import muserve.errors
import muserve_client
from muserve.configuration import describe_value
from muserve_server.settings import Settings

COMMANDS = {
    "muserve": "muserve_client.cli",
    "muserve-server": "muserve_server.command",
    "muserve-export": "muserve_export.cli",
}
RELEASED = {"muserve-server": "muserve_server.app"}
"""Where a command was before."""


class _ParsingError(Exception):
    """A command has made its parser and wants to parse."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """Returns the parser that a command makes."""

    def stop(self: argparse.ArgumentParser, *_: object) -> NoReturn:
        raise _ParsingError(self)

    argparse.ArgumentParser.parse_known_args = stop  # type: ignore[assignment]
    sys.argv = [command]
    try:
        is_released = importlib.util.find_spec(COMMANDS[command]) is None
        importlib.import_module((RELEASED if is_released else COMMANDS)[command]).main()
    except _ParsingError as stopped:
        (parser,) = stopped.args
        assert isinstance(parser, argparse.ArgumentParser)
        return parser
    raise RuntimeError(f"{command} parses nothing")


def flags(command: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the arguments of a command and of those below it."""
    found: dict[str, Any] = {"positionals": []}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from flags(f"{command} {name}", child)
        elif not action.option_strings:
            found["positionals"].append([action.dest, action.nargs, action.choices and list(action.choices)])
        for option in action.option_strings:
            found[option] = {
                "values": "1" if action.nargs is None else str(action.nargs),
                "choices": [str(choice) for choice in action.choices or ()],
                "required": action.required,
            }
    yield command, found


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Yields the public names of a module and of its classes: the parameters of what is called, None for the rest."""
    for name in module.__all__:
        value = getattr(module, name)
        yield f"{module.__name__}.{name}", parameters(value)
        if inspect.isclass(value) and not issubclass(value, enum.Enum):
            members = {field.name for field in dataclasses.fields(value)} if dataclasses.is_dataclass(value) else set()
            for member in sorted(members.union(dir(value))):
                if not member.startswith("_"):
                    yield f"{module.__name__}.{name}.{member}", parameters(getattr(value, member, None))


def parameters(value: Any) -> list[list[str | None]] | None:
    """Returns name, kind and default of each parameter."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    return [
        [one.name, one.kind.name, None if one.default is one.empty else repr(one.default)]
        for one in signature.parameters.values()
    ]


def main() -> None:
    """Prints everything."""
    settings = {
        field.name: {
            "default": describe_value(field.default),
            "choices": list(field.metadata["choices"]),
        }
        for field in dataclasses.fields(Settings)
        if "choices" in field.metadata
    }
    commands = dict(pair for command in COMMANDS for pair in flags(command, parser_of(command)))
    names = dict(pair for module in (muserve_client, muserve.errors) for pair in public(module))
    print(json.dumps({"settings": settings, "commands": commands, "names": names}))


if __name__ == "__main__":
    main()
