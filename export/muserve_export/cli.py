"""The command `muserve-export`: data, train, export, evaluate, verify."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muserve import __version__
from muserve.bundle import BundleError, read_bundle
from muserve.configuration import (
    ConfigurationError,
    add_flags,
    build,
    from_flags,
    parse_flags,
    read_toml,
)
from muserve_export.bundling.card import metrics_table
from muserve_export.errors import ExportError
from muserve_export.families import FAMILIES, load_family, recipe_names, recipe_path
from muserve_export.training.loop import make_fabric
from muserve_export.training.run import RunFolder
from muserve_server.model import LocalModel

__all__ = ["main"]

_DEFAULT_RECIPE = "tutorial"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; on an error says what is wrong and exits with 1, or with 2 if the command line is."""
    parser = argparse.ArgumentParser(
        prog="muserve-export", allow_abbrev=False, description="Train generators and write them as bundles."
    )
    parser.add_argument("--version", action="version", version=f"muserve-export {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_data(commands)
    _add_train(commands)
    _add_export(commands)
    _add_evaluate(commands)
    _add_verify(commands)
    namespace = parse_flags(parser, arguments)
    try:
        namespace.run(namespace)
    except (ConfigurationError, ExportError, BundleError, OSError) as error:
        sys.exit(f"muserve-export: error: {error}")
    except KeyboardInterrupt:
        sys.exit("muserve-export: stopped; a run goes on from its last checkpoint with --resume")


def _add_data(commands: Any) -> None:
    collectors = {name: collect for name in FAMILIES if (collect := load_family(name).collect)}
    if not collectors:
        return
    data = commands.add_parser("data", help="make the data of a bundled model", allow_abbrev=False)
    families = data.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for name, collect in collectors.items():
        parser = families.add_parser(
            name,
            help=FAMILIES[name],
            allow_abbrev=False,
            description=f"Make the data that the bundled model {name} is trained on.",
        )
        parser.add_argument(
            "--source",
            type=Path,
            action="append",
            default=[],
            metavar="PATH",
            help="a file or folder to make them of, in place of a download; may be given several times "
            "(music: WADs, Debian packages of freedoom and mma, or folders that hold these; the word music21 for the "
            "scores in that package; translation: a folder with bmng.jpg and shadedrelief.jpg)",
        )
        parser.add_argument("--out", type=Path, default=Path("data") / name, help=f"folder (default: data/{name})")
        parser.set_defaults(run=_data, collect=collect)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model", allow_abbrev=False)
    families = train.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for name, text in FAMILIES.items():
        parser = families.add_parser(
            name,
            help=text,
            allow_abbrev=False,
            description=f"Train {text}. A recipe sets the values below; every one of them can be set here too.",
        )
        parser.add_argument(
            "--recipe", help=f"{', '.join(recipe_names(name))}, or a path to a TOML file (default: {_DEFAULT_RECIPE})"
        )
        parser.add_argument("--out", type=Path, help="folder of the run (default: runs/<family>-<recipe>)")
        parser.add_argument(
            "--resume", action="store_true", help="go on with the run in --out from its last checkpoint"
        )
        parser.add_argument("--init-from", type=Path, metavar="PATH", help="take the first weights from another run")
        add_flags(parser, load_family(name).config)
        parser.set_defaults(run=_train)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a trained model as a bundle", allow_abbrev=False)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of the run: runs/digits-tutorial")
    parser.add_argument("--name", help="name of the model (default: that of the family)")
    parser.add_argument("--version", type=int, help="version, never used before (default: one more than the newest)")
    parser.add_argument(
        "--out", type=Path, default=Path("models"), help="where bundles are: <out>/<name>/<version> (default: models)"
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="measure the bundle and write the figures into manifest and model card"
    )
    parser.add_argument(
        "--notes", type=Path, metavar="PATH", help="Markdown on limits and known faults, for the model card"
    )
    parser.set_defaults(run=_export)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate", help="measure bundles through the code that serves them", allow_abbrev=False
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="models/<name>/<version>")
    parser.add_argument("--data", help="data to measure against (default: the bundled data, if it was trained on that)")
    parser.add_argument(
        "--part", choices=("validation", "test"), default="test", help="validation to choose, test to report (default)"
    )
    parser.add_argument("--out", type=Path, help="write the table as Markdown too")
    parser.add_argument(
        "--details",
        type=Path,
        help="write the figures behind one bundle's table as CSV: of music each style and track, of "
        "translation each place",
    )
    parser.set_defaults(run=_evaluate)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        "verify", help="prove that bundles are whole and compute the right numbers", allow_abbrev=False
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="models/<name>/<version>")
    parser.set_defaults(run=_verify)


def _data(namespace: argparse.Namespace) -> None:
    print(namespace.collect(namespace.out, namespace.source))
    data = "" if namespace.out == Path("data") / namespace.family else f" --data {namespace.out}"
    print(f"made: {namespace.out}; train on it: muserve-export train {namespace.family} --recipe bundled{data}")


def _train(namespace: argparse.Namespace) -> None:
    family = load_family(namespace.family)
    recipe = namespace.recipe or _DEFAULT_RECIPE
    if namespace.resume and namespace.init_from:
        raise ExportError("--resume and --init-from exclude each other: a resumed run has its own weights")
    run = RunFolder(namespace.out or Path("runs") / f"{family.name}-{Path(recipe).stem}")
    flags = from_flags(family.config, namespace)
    # A resumed run has its own values; what is named again must agree, or be one that may change.
    base = run.values() if namespace.resume else {}
    named = read_toml(recipe_path(family.name, recipe)) if namespace.recipe or not namespace.resume else {}
    config = build(family.config, base, named, flags)
    fabric = make_fabric(config)
    if fabric.is_global_zero:
        if namespace.resume:
            run.resume(family.name, config)
        else:
            run.begin(family.name, Path(recipe).stem, config)
    fabric.barrier()
    family.train(fabric, config, run, init_from=namespace.init_from)
    if fabric.is_global_zero:
        print(f"trained: {run.path}; write the bundle: muserve-export export {run.path}")


def _export(namespace: argparse.Namespace) -> None:
    run = RunFolder(namespace.run_folder)
    family = load_family(run.origin()[0])
    folder = family.export(
        run,
        namespace.out,
        name=namespace.name or family.name,
        version=namespace.version,
        measure=family.evaluate if namespace.evaluate else None,
        notes=_read_text(namespace.notes) if namespace.notes else "",
    )
    print(f"exported: {folder}; serve it: muserve-server --models {namespace.out}")


def _evaluate(namespace: argparse.Namespace) -> None:
    if namespace.details and len(namespace.bundles) > 1:
        raise ExportError(f"--details is for one bundle, {len(namespace.bundles)} were named")
    figures = {}
    for path in namespace.bundles:
        name = read_bundle(path).manifest.training.get("family", "")
        if name not in FAMILIES:
            raise ExportError(
                f"{path}: its manifest names no family of this build under training; it cannot be measured"
            )
        family = load_family(name)
        details: dict[str, Any] = {"details": namespace.details} if namespace.details else {}
        if details and not family.has_details:
            raise ExportError(f"{path}: family {name!r} has no figures behind its table; leave out --details")
        figures[str(path)] = family.evaluate(path, data=namespace.data, part=namespace.part, **details)
    table = metrics_table(figures)
    print(table)
    if namespace.out:
        namespace.out.write_text(table + "\n", encoding="utf-8")


def _verify(namespace: argparse.Namespace) -> None:
    for path in namespace.bundles:
        bundle = asyncio.run(_open(path))
        print(f"{path}: whole, {bundle}; its golden requests give what was recorded at export")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read as text ({error})") from error


async def _open(path: Path) -> Any:
    async with await LocalModel.open(path) as model:
        return model.bundle
