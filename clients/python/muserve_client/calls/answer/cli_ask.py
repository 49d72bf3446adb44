"""`muserve ask`: answers a question, from a text or from the model's own corpus."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from muserve_client.calls.answer.result import Answers
from muserve_client.calls.answer.texts import read_text
from muserve_client.calls.kind import Command
from muserve_client.client import Client
from muserve_client.flags import add_model_flags, client_arguments

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", metavar="QUESTION", help='such as "What is a GAN?"')
    parser.add_argument(
        "--context", metavar="FILE", type=Path, help="text to answer from; - reads standard input (default: the corpus)"
    )
    parser.add_argument(
        "--count", metavar="N", type=int, help="number of answers: the most likely one, then sampled ones (default: 1)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="seed of what is sampled (default: drawn)")
    parser.add_argument("--max-tokens", metavar="N", type=int, help="maximum length in tokens (default: the model's)")
    parser.add_argument("--json", action="store_true", help="one JSON object, with evidence and source")
    add_model_flags(parser)


def _run(namespace: argparse.Namespace) -> int:
    context = read_text(namespace.context) if namespace.context else None
    with Client(**client_arguments(namespace)) as client:
        found = client.ask(
            namespace.question,
            context,
            count=namespace.count,
            seed=namespace.seed,
            max_tokens=namespace.max_tokens,
            model=namespace.model,
            version=namespace.version,
        )
    if namespace.json:
        print(json.dumps(_described(found), ensure_ascii=False, indent=1))
    else:
        _show(found)
    return 0


def _show(found: Answers) -> None:
    if not found.is_answerable:
        print("I don't know.")
        if found.nearest:
            print(f"Nearest: {', '.join(found.nearest)}")
    for answer in found:
        print(answer.text)
    source = f"{found.source.title} ({found.source.corpus}), " if found.source and found.is_answerable else ""
    seed = f", seed {found.info.seed}" if len(found) > 1 else ""
    print(
        f"[{source}answerable {found.answerable:.2f}; model {found.info.model}, version {found.info.version}{seed}]",
        file=sys.stderr,
    )


def _described(found: Answers) -> dict[str, Any]:
    return {
        "question": found.question_read,
        "is_answerable": found.is_answerable,
        "answerable": found.answerable,
        "answers": [
            {
                "text": answer.text,
                "score": answer.score,
                "evidence": vars(answer.evidence) if answer.evidence else None,
                "sample": answer.sample,
            }
            for answer in found
        ],
        "source": vars(found.source) if found.source else None,
        "nearest": list(found.nearest),
        "model": found.info.model,
        "version": found.info.version,
        "seed": found.info.seed,
    }


COMMAND = Command("ask", "Answer a question, from a text or from what the model knows.", _add_flags, _run)
