"""`muserve questions`: asks what a text answers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from muserve_client.cli.connection import add_command, client_arguments
from muserve_client.cli.texts import read_text
from muserve_client.client import Client

__all__ = ["add"]


def add(commands: Any) -> None:
    """Adds the subcommand."""
    parser = add_command(commands, "questions", "Ask questions that a text answers, each with its answer.")
    parser.set_defaults(run=_run)
    parser.add_argument("file", metavar="FILE", type=Path, help="text in UTF-8; - reads standard input")
    parser.add_argument("--count", metavar="N", type=int, help="most questions (default: 5)")
    parser.add_argument("--seed", metavar="N", type=int, help="the seed of what is drawn (default: drawn)")
    parser.add_argument("--json", action="store_true", help="JSON Lines: question, answer, kind, evidence, score")
    parser.add_argument("--model", metavar="NAME", default="", help="which model (default: the server's)")
    parser.add_argument("--version", metavar="N", type=int, help="which version of it (default: the newest)")


def _run(namespace: argparse.Namespace) -> int:
    context = read_text(namespace.file)
    with Client(**client_arguments(namespace)) as client:
        found = client.questions(
            context, count=namespace.count, seed=namespace.seed, model=namespace.model, version=namespace.version
        )
    for pair in found:
        if namespace.json:
            print(json.dumps({**vars(pair), "evidence": vars(pair.evidence)}, ensure_ascii=False))
        else:
            print(f"{pair.question}\n  {pair.answer}")
    info = found.info
    made_by = f"model {info.model}, version {info.version}, seed {info.seed}"
    print(f"[{len(found)} questions, {found.rejected} left out; {made_by}]", file=sys.stderr)
    return 0
