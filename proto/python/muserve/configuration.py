"""Reads a frozen dataclass from flags, environment and TOML: how all programs of Muserve are configured.

Used by the server's settings and by training recipes. A field made with `option` carries its help, unit and bounds;
an unknown key is refused with the nearest valid name. Precedence is the caller's: `build` lets later layers win.

    ConfigurationError    an unknown key, a value of the wrong type or out of bounds, an unreadable file
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import difflib
import os
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

__all__ = [
    "ConfigurationError",
    "add_flags",
    "build",
    "check_order",
    "describe_value",
    "from_environment",
    "from_flags",
    "nearest",
    "option",
    "option_names",
    "options_of",
    "parse_flags",
    "read_toml",
]

_MAX_NAME_LENGTH = 200

Config = TypeVar("Config")


class ConfigurationError(ValueError):
    """A setting cannot be used. The text names it, what came, and what is allowed."""


def option(
    default: Any,
    help: str,  # noqa: A002 - the word that argparse uses
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] = (),
    at_most: str = "",
) -> Any:
    """Declares a field that can be set from outside.

    Args:
        default: Its value where nothing sets it.
        help: What it does, for --help and the docs.
        unit: "ms", "rows"; empty for a plain number or text.
        minimum: Minimum value.
        maximum: Maximum value.
        choices: The allowed texts, if not all are.
        at_most: Name of another setting that this one must not exceed, where both exist.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": tuple(choices),
        "at_most": at_most,
        "identity": object(),
    }
    return dataclasses.field(default=default, metadata=metadata)


def nearest(name: str, valid: Sequence[str]) -> str:
    """Returns a hint at the valid name: "did you mean 'epochs'?", or the list of them all."""
    bare = {text.lstrip("-"): text for text in valid}  # the dashes of flags would make all of them alike
    # Names are untrusted, and matching takes time: long ones are not compared.
    close = difflib.get_close_matches(name.lstrip("-"), bare, n=1) if len(name) <= _MAX_NAME_LENGTH else []
    return f"did you mean {bare[close[0]]!r}?" if close else f"valid: {', '.join(sorted(valid))}"


def build(kind: type[Config], *layers: Mapping[str, Any]) -> Config:
    """Builds a config from layers of values; later layers win.

    Args:
        kind: A dataclass whose fields were made with `option`.
        layers: Field name to value, as the field's own type or as text.

    Raises:
        ConfigurationError: A key is not a field, or a value does not fit its field.
    """
    options = _options(kind)
    values: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in options:
                raise ConfigurationError(f"unknown setting {name!r}; {nearest(name, list(options))}")
            values[name] = _convert(name, value, options[name])
    return kind(**values)


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a flat TOML file.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: not TOML ({error})") from error


def from_environment(kind: type[Any], prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Takes every variable that starts with the prefix: MUSERVE_CONFIG_GRPC_PORT sets grpc_port.

    Raises:
        ConfigurationError: A variable with the prefix that sets no field.
    """
    options = _options(kind)
    values: dict[str, str] = {}
    for variable, value in environ.items():
        if not variable.startswith(prefix):
            continue
        name = variable.removeprefix(prefix).lower()
        if name not in options:
            valid = [prefix + field.upper() for field in options]
            raise ConfigurationError(f"unknown environment variable {variable!r}; {nearest(variable, valid)}")
        values[name] = value
    return values


def add_flags(parser: argparse.ArgumentParser, kind: type[Any], *, defaults: Any = None) -> None:
    """Adds one flag a field: grpc_port becomes --grpc-port.

    Args:
        parser: Made with `allow_abbrev=False`, so that a wrong flag is never taken for another.
        kind: A dataclass whose fields were made with `option`.
        defaults: An instance whose values the help text shows; the fields' own defaults if None.
    """
    for name, field in _options(kind).items():
        shown = describe_value(getattr(defaults, name) if defaults is not None else field.default)
        unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
        help_text = f"{field.metadata['help']}{unit} (default: {shown or 'none'})".replace("%", "%%")
        flag = "--" + name.replace("_", "-")
        if field.metadata["resolved"] is bool:
            parser.add_argument(
                flag, dest=name, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help_text
            )
        else:
            metavar = "|".join(field.metadata["choices"]) or _metavar(field)
            action = "append" if _is_paths(field.metadata["resolved"]) else "store"
            parser.add_argument(
                flag, dest=name, action=action, default=argparse.SUPPRESS, metavar=metavar, help=help_text
            )


def parse_flags(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses flags; an unknown one ends the program with the nearest valid name, of the subcommand if there is one."""
    namespace, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].split("=")[0]
        parser = _chosen_parser(parser, namespace)
        valid = [text for action in parser._actions for text in action.option_strings if text.startswith("--")]
        parser.error(f"unknown argument {flag!r}; {nearest(flag, valid)}")
    return namespace


def _chosen_parser(parser: argparse.ArgumentParser, namespace: argparse.Namespace) -> argparse.ArgumentParser:
    """Goes down the subcommands that were given, however deep they nest."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(getattr(namespace, action.dest, ""))
            return _chosen_parser(chosen, namespace) if chosen else parser
    return parser


def from_flags(kind: type[Any], namespace: argparse.Namespace) -> dict[str, Any]:
    """Takes the fields that flags set out of a parsed command line."""
    return {name: getattr(namespace, name) for name in _options(kind) if hasattr(namespace, name)}


def option_names(kind: type[Any]) -> list[str]:
    """Returns the names of the fields of a dataclass that were made with `option`."""
    return list(_options(kind))


def options_of(kind: type[Any]) -> list[tuple[str, Any, dataclasses.Field[Any]]]:
    """Returns name, type and field of the fields that were made with `option`.

    A field that is declared once and used in several classes has the same `metadata["identity"]` in all of them.
    """
    return [(name, field.metadata["resolved"], field) for name, field in _options(kind).items()]


def check_order(lower: Any, upper: Any) -> None:
    """Checks the options of one config that may not exceed an option of another.

    Args:
        lower: The config that has `at_most` options.
        upper: The one that has their bounds.

    Raises:
        ConfigurationError: One is larger than its bound.
    """
    for name, field in _options(type(lower)).items():
        bound = field.metadata["at_most"]
        if bound and getattr(lower, name) > getattr(upper, bound):
            raise ConfigurationError(
                f"{name} is {getattr(lower, name)}, but {bound} is {getattr(upper, bound)}: the largest call would "
                f"never fit; raise {bound} or lower {name}"
            )


def describe_value(value: Any) -> str:
    """Writes a value the way a flag takes it: tuples with commas, of paths as PATH has them, True as "true"."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        separator = os.pathsep if any(isinstance(item, Path) for item in value) else ","
        return separator.join(describe_value(item) for item in value)
    return "" if value is None else str(value)


def _options(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    hints = typing.get_type_hints(kind)
    options = {}
    # By the names of the class: a field that several classes share has the name of the last of them.
    for name, shared in kind.__dataclass_fields__.items():
        if "identity" not in shared.metadata:
            continue  # not made with `option`: not to be set from outside
        field = copy.copy(shared)
        field.metadata = types.MappingProxyType({**shared.metadata, "resolved": hints[name]})
        options[name] = field
    return options


def _metavar(field: dataclasses.Field[Any]) -> str:
    kind = field.metadata["resolved"]
    if _is_paths(kind):
        return f"PATH{os.pathsep}…"
    if typing.get_origin(kind) is tuple:
        return "A,B,…"
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _convert(name: str, value: Any, field: dataclasses.Field[Any]) -> Any:
    kind = field.metadata["resolved"]
    if typing.get_origin(kind) is types.UnionType:  # only "X | None" is used
        if value is None or value == "":
            return None
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    try:
        converted = _convert_to(kind, value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{name} is {value!r}; it must be {_expected_type(kind)}") from error
    _check_bounds(name, converted, field.metadata)
    return converted


def _convert_to(kind: Any, value: Any) -> Any:
    if _is_paths(kind):
        given = [value] if isinstance(value, str | Path) else list(value)
        return tuple(Path(part) for item in given for part in str(item).split(os.pathsep) if part)
    if typing.get_origin(kind) is tuple:
        items = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)
        return tuple(_convert_to(typing.get_args(kind)[0], item) for item in items)
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[_lower(value)]
    if kind is str and not isinstance(value, str):
        raise TypeError
    if kind in (int, float) and (isinstance(value, bool) or (kind is int and isinstance(value, float))):
        raise TypeError
    return kind(value)


def _is_paths(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple and typing.get_args(kind)[0] is Path


def _lower(value: Any) -> str:
    text = str(value).lower()
    if text not in {"true", "1", "yes", "false", "0", "no"}:
        raise ValueError(text)
    return text


def _expected_type(kind: Any) -> str:
    if _is_paths(kind):
        return f"one path, or several with {os.pathsep!r} between them"
    if typing.get_origin(kind) is tuple:
        return f"a comma-separated list, each item {_expected_type(typing.get_args(kind)[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}[kind]


def _check_bounds(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    minimum, maximum, choices = metadata["minimum"], metadata["maximum"], metadata["choices"]
    for item in value if isinstance(value, tuple) else (value,):
        if item is None:
            continue
        if choices and item not in choices:
            raise ConfigurationError(f"{name} is {item!r}; allowed: {', '.join(choices)}")
        # "not <=" also refuses NaN
        if minimum is not None and not minimum <= item:
            raise ConfigurationError(f"{name} is {item}; it must be at least {minimum:g} {metadata['unit']}".rstrip())
        if maximum is not None and not item <= maximum:
            raise ConfigurationError(f"{name} is {item}; it must be at most {maximum:g} {metadata['unit']}".rstrip())
