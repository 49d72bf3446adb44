"""`muserve questions`: asks what a text answers."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from muserve_client.calls.answer.texts import read_text
from muserve_client.calls.kind import Command
from muserve_client.client import Client
from muserve_client.flags import add_model_flags, client_arguments

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="text in UTF-8; - reads standard input")
    parser.add_argument("--count", metavar="N", type=int, help="maximum number of questions (default: 5)")
    parser.add_argument("--seed", metavar="N", type=int, help="seed of what is sampled (default: drawn)")
    parser.add_argument("--json", action="store_true", help="JSON Lines: question, answer, kind, evidence, score")
    add_model_flags(parser)


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


COMMAND = Command("questions", "Generate questions that a text answers, with answers.", _add_flags, _run)
