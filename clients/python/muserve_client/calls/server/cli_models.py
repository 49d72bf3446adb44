"""`muserve models`: what a server has."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from muserve_client.calls.kind import Command
from muserve_client.calls.server.result import Model
from muserve_client.client import Client
from muserve_client.flags import client_arguments

__all__ = ["COMMAND"]

_DIGEST_PREFIX = 12
_HEADINGS = ("NAME", "VERSION", "TASK", "STATE", "DEFAULT", "DIGEST", "DESCRIPTION")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--task", metavar="TASK", help="only models of this task: image, forecast, music, … (default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, with full digests")


def _run(namespace: argparse.Namespace) -> int:
    with Client(**client_arguments(namespace)) as client:
        models = client.models(namespace.task)
    if namespace.json:
        print(json.dumps([_fields(model) for model in models], indent=2))
    elif models:
        print(_table(models))
    else:
        print("The server has no models; put a bundle into its models folder: <name>/<version>/manifest.json")
    return 0


def _fields(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "version": model.version,
        "task": model.task,
        "state": model.state,
        "default": model.default,
        "digest": model.digest,
        "description": model.description,
        "reason": model.reason,
    }


def _table(models: Sequence[Model]) -> str:
    rows = [_HEADINGS, *(_row(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [f"{model.name}/{model.version} {model.state}: {model.reason}" for model in models if model.reason]
    return "\n".join(lines)


def _row(model: Model) -> tuple[str, ...]:
    digest, default = model.digest[:_DIGEST_PREFIX], "yes" if model.default else ""
    return (model.name, str(model.version), model.task, model.state, default, digest, model.description)


COMMAND = Command("models", "List the server's models.", _add_flags, _run)
