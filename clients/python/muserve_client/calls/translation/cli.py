"""`muserve translate`: translates an image into another domain, into a PNG file."""

from __future__ import annotations

import argparse
from pathlib import Path

from muserve.configuration import ConfigurationError
from muserve_client.calls.kind import Command
from muserve_client.client import Client
from muserve_client.flags import add_model_flags, client_arguments

__all__ = ["COMMAND"]

_ENDING = ".png"


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="PNG, JPEG or WebP")
    parser.add_argument(
        "--to", metavar="DOMAIN", default="", help="such as map (default: that of a model with one direction)"
    )
    parser.add_argument("--out", metavar="PATH", type=Path, help="x.png (default: FILE-DOMAIN.png, in this folder)")
    parser.add_argument(
        "--cycle", metavar="PATH", type=Path, help="x.png: the result translated back; prints the error"
    )
    parser.add_argument(
        "--side-by-side", metavar="PATH", type=Path, help="x.png: image, result and back-translation in a row"
    )
    add_model_flags(parser)


def _run(namespace: argparse.Namespace) -> int:
    _check_paths(namespace)
    with Client(**client_arguments(namespace)) as client:
        found = client.translate(
            namespace.file,
            namespace.to,
            cycle=namespace.cycle is not None,
            side_by_side=namespace.side_by_side is not None,
            model=namespace.model,
            version=namespace.version,
        )
    if namespace.out is None:
        namespace.out = Path(f"{namespace.file.stem}-{Path(found.target).name}{_ENDING}")
        _check_paths(namespace)
    print(f"saved {found.save(namespace.out)}: {found.source} to {found.target}, {found.width} × {found.height}")
    if found.cycle:
        error = f"{found.cycle.mean_absolute_error:.3g} of 255 off on average"
        print(f"saved {found.cycle.save(namespace.cycle)}: and back to {found.source}, {error}")
    if found.side_by_side:
        print(f"saved {found.side_by_side.save(namespace.side_by_side)}: side by side")
    print(f"model {found.info.model}, version {found.info.version}")
    return 0


def _check_paths(namespace: argparse.Namespace) -> None:
    """Checks the paths before the call, and again once the default of --out is known.

    Raises:
        ConfigurationError: A path does not end with .png, or two are the same.
    """
    paths = {"--out": namespace.out, "--cycle": namespace.cycle, "--side-by-side": namespace.side_by_side}
    given = {flag: path for flag, path in paths.items() if path is not None}
    for flag, path in given.items():
        if path.suffix.lower() != _ENDING:
            raise ConfigurationError(f"{flag} is {str(path)!r}; it must end with {_ENDING}")
        _check_source(flag, path, namespace.file)
    if len({path.resolve() for path in given.values()}) < len(given):
        raise ConfigurationError(f"{' and '.join(given)} must be different files")


def _check_source(flag: str, path: Path, source: Path) -> None:
    if path.exists() and source.exists() and path.samefile(source):
        raise ConfigurationError(f"{flag} would write over {source}, which is translated; name another file")


COMMAND = Command("translate", "Translate an image into another domain, as PNG of the same size.", _add_flags, _run)
