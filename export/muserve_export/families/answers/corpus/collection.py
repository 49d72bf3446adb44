"""Creates the data of the bundled model: the Free On-line Dictionary of Computing and our own glossary.

data/answers/
  foldoc.jsonl     entries of the dictionary: GNU FDL, so it stays a file of its own
  foldoc.licence.txt   that licence
  glossary.toml    entries of our own, with what can be asked about them
  about.json       origin and terms

Your own folder may hold entries in either format; see `corpus`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from muserve_export.debian import fetch_package, unpack_package
from muserve_export.errors import DataError
from muserve_export.families.answers.corpus import foldoc, glossary
from muserve_export.families.answers.corpus.corpus import ABOUT, LICENCE_ENDING

__all__ = ["collect_answers"]

_PACKAGE = "dict-foldoc"


def collect_answers(destination: Path, sources: Sequence[Path]) -> str:
    """Creates the folder.

    Args:
        destination: A new or empty folder.
        sources: The Debian package dict-foldoc, or a folder with foldoc.index and foldoc.dict.dz; none downloads the
            package with apt.

    Returns:
        A summary of the data.

    Raises:
        DataError: The dictionary is missing or damaged, or the folder is not empty.
    """
    if destination.exists() and any(destination.iterdir()):
        raise DataError(f"{destination} is not empty; remove it, or choose another folder with --out PATH")
    if len(sources) > 1:
        raise DataError(
            f"{len(sources)} sources were given; give one: the package {_PACKAGE}, or a folder with its files"
        )
    with TemporaryDirectory() as scratch:
        entries = foldoc.read_foldoc(_open(sources[0] if sources else None, Path(scratch)))
    own, triples = glossary.read_glossary()
    destination.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    (destination / "foldoc.jsonl").write_text("".join(lines), encoding="utf-8")
    with as_file(glossary.BUNDLED) as path:
        shutil.copyfile(path, destination / "glossary.toml")
    with as_file(files(__package__) / "gfdl-1.3.txt") as path:
        shutil.copyfile(path, destination / f"foldoc{LICENCE_ENDING}")
    about = {
        "foldoc.jsonl": {"origin": foldoc.ORIGIN, "licence": foldoc.LICENCE, "entries": len(entries)},
        "glossary.toml": {"origin": glossary.ORIGIN, "licence": glossary.LICENCE, "entries": len(own)},
    }
    (destination / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return f"{len(entries):,} entries of FOLDOC; {len(own)} of our own glossary, with {len(triples)} answers"


def _open(source: Path | None, scratch: Path) -> Path:
    """Returns a folder with the dictionary's files."""
    if source is None:
        source = fetch_package(_PACKAGE, scratch)
    if source.is_dir():
        return source
    if not source.is_file():
        raise DataError(f"--source {source}: does not exist; pass {_PACKAGE}.deb, or a folder with foldoc.index")
    unpack_package(source, scratch / "unpacked")
    return scratch / "unpacked"
