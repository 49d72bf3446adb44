"""Compares two bundles on the same questions, by the CSV files of `muserve-export evaluate --details`.

python -m muserve_export.families.answers.measure.compare likelihood.csv adversarial.csv
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muserve_export.errors import DataError
from muserve_export.families.answers.measure.figures import mean_interval

__all__ = ["compare"]

_Scores = tuple[list[tuple[str, str]], NDArray[np.float64]]


def compare(first: Path, second: Path) -> list[str]:
    """Returns a Markdown table: mean scores by group of questions, and the difference with its interval.

    Args:
        first: Details of one bundle, CSV.
        second: Of the other.

    Raises:
        DataError: They are not about the same questions.
    """
    questions, scores = _read(first)
    others, other_scores = _read(second)
    if questions != others:
        raise DataError(f"{first} and {second} do not have the same questions; write both with the same data and part")
    lines = [f"| questions | {first} | {second} | difference | 95 % from | to |", "| --- |" + " --- |" * 5]
    for group in dict.fromkeys(group for group, _ in questions):
        chosen = np.array([own == group for own, _ in questions])
        gain = (other_scores - scores)[chosen]
        low, high = mean_interval(gain)
        cells = [scores[chosen].mean(), other_scores[chosen].mean(), gain.mean(), low, high]
        lines.append(f"| {group} ({chosen.sum()}) | " + " | ".join(f"{cell:.4f}" for cell in cells) + " |")
    return lines


def _read(path: Path) -> _Scores:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"group", "question", "score"} <= set(rows[0]):
        raise DataError(
            f"{path} lacks the columns group, question and score; write it with muserve-export evaluate --details"
        )
    # What a bundle asks by itself is another's not.
    rows = [row for row in rows if not row["group"].startswith("asked/")]
    return [(row["group"], row["question"]) for row in rows], np.array([float(row["score"]) for row in rows])


def _main(paths: Sequence[str]) -> None:
    if len(paths) != 2:
        sys.exit(f"{len(paths)} files were given; give two: likelihood.csv adversarial.csv")
    try:
        sys.stdout.write("\n".join(compare(Path(paths[0]), Path(paths[1]))) + "\n")
    except (DataError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main(sys.argv[1:])
