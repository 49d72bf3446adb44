"""The command `muserve-export`: data, train, export, evaluate, verify, recipes.

Parsing needs the families' names and settings alone; what needs torch is imported by the command that runs.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muserve import __version__
from muserve.bundle import BundleError
from muserve.configuration import ConfigurationError, from_flags, parse_flags
from muserve_export.errors import ExportError
from muserve_export.families import (
    DEFAULT_RECIPE,
    Families,
    describe_recipe,
    installed_families,
    recipe_names,
    recipe_path,
)
from muserve_export.families.registry import add_train_flags

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command. On an error prints what is wrong and exits with 1, or with 2 for a wrong command line."""
    families = installed_families()
    for problem in families.problems.values():
        print(f"muserve-export: warning: {problem}", file=sys.stderr)
    namespace = parse_flags(_make_parser(families), arguments)
    try:
        namespace.run(namespace)
    except (ConfigurationError, ExportError, BundleError, OSError) as error:
        sys.exit(f"muserve-export: error: {error}")
    except KeyboardInterrupt:
        sys.exit("muserve-export: stopped; continue a run from its last checkpoint with --resume")


def _make_parser(families: Families) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="muserve-export", allow_abbrev=False, description="Train generators and write them as bundles."
    )
    parser.add_argument("--version", action="version", version=f"muserve-export {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_data(commands, families)
    _add_train(commands, families)
    _add_export(commands)
    _add_evaluate(commands)
    _add_verify(commands)
    recipes = commands.add_parser("recipes", help="list the recipes of every family", allow_abbrev=False)
    recipes.set_defaults(run=_recipes)
    return parser


def _add_data(commands: Any, families: Families) -> None:
    collecting = [family for family in families.values() if family.sources]
    if not collecting:
        return
    data = commands.add_parser("data", help="prepare the training data of a bundled model", allow_abbrev=False)
    subcommands = data.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for family in collecting:
        parser = subcommands.add_parser(
            family.name,
            help=_plain(family.summary),
            allow_abbrev=False,
            description=f"Prepare the data that the bundled {family.name} model is trained on.",
        )
        parser.add_argument(
            "--source",
            type=Path,
            action="append",
            default=[],
            metavar="PATH",
            help=f"file or folder to use instead of a download; repeat for several ({_plain(family.sources)})",
        )
        default = Path("data") / family.name
        parser.add_argument("--out", type=Path, default=default, help=f"output folder (default: {default})")
        parser.set_defaults(run=_data)


def _plain(text: str) -> str:
    """Escapes a text for argparse, which takes % for a placeholder."""
    return text.replace("%", "%%")


def _add_train(commands: Any, families: Families) -> None:
    train = commands.add_parser("train", help="train a model", allow_abbrev=False)
    subcommands = train.add_subparsers(dest="family", required=True, metavar="FAMILY")
    for name, family in families.items():
        parser = subcommands.add_parser(
            name,
            help=_plain(family.summary),
            allow_abbrev=False,
            description=f"Train {family.summary}. A recipe sets the values below; flags override the recipe.",
        )
        recipes = f"{', '.join(recipe_names(family))}, or path to a TOML file (default: {DEFAULT_RECIPE})"
        add_train_flags(parser, family.config, recipes=recipes)
        parser.set_defaults(run=_train)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser("export", help="write a trained model as a bundle", allow_abbrev=False)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder, such as runs/digits-tutorial")
    parser.add_argument("--name", help="name of the model (default: the family's name)")
    parser.add_argument("--version", type=int, help="an unused version (default: one more than the newest)")
    parser.add_argument(
        "--out", type=Path, default=Path("models"), help="the bundle goes to <out>/<name>/<version> (default: models)"
    )
    parser.add_argument(
        "--evaluate", action="store_true", help="measure the bundle and add the figures to its manifest and model card"
    )
    parser.add_argument(
        "--notes", type=Path, metavar="PATH", help="Markdown file on limits and known faults, for the model card"
    )
    parser.set_defaults(run=_export)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser(
        "evaluate", help="measure bundles through the code that serves them", allow_abbrev=False
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="models/<name>/<version>")
    parser.add_argument(
        "--data", help="data to measure against (default: the built-in data, if the bundle was trained on them)"
    )
    parser.add_argument(
        "--part",
        choices=("validation", "test"),
        default="test",
        help="held-out part: validation while choosing, test to report (default)",
    )
    parser.add_argument("--out", type=Path, help="also write the table to this Markdown file")
    parser.add_argument(
        "--details",
        type=Path,
        help="write the figures behind the table to this CSV file; for one bundle of a family that has them",
    )
    parser.set_defaults(run=_evaluate)


def _add_verify(commands: Any) -> None:
    parser = commands.add_parser(
        "verify", help="check that bundles are complete and compute what they did at export", allow_abbrev=False
    )
    parser.add_argument("bundles", type=Path, nargs="+", metavar="BUNDLE", help="models/<name>/<version>")
    parser.set_defaults(run=_verify)


def _data(namespace: argparse.Namespace) -> None:
    name = namespace.family
    print(installed_families().named(name).collect(namespace.out, namespace.source))
    data = "" if namespace.out == Path("data") / name else f" --data {namespace.out}"
    print(f"made: {namespace.out}; train on it: muserve-export train {name} --recipe bundled{data}")


def _train(namespace: argparse.Namespace) -> None:
    from muserve_export.training.train import train_family

    family = installed_families().named(namespace.family)
    run = train_family(
        family,
        from_flags(family.config, namespace),
        recipe=namespace.recipe,
        out=namespace.out,
        resume=namespace.resume,
        init_from=namespace.init_from,
    )
    if run:
        print(f"trained: {run.path}; write the bundle: muserve-export export {run.path}")


def _export(namespace: argparse.Namespace) -> None:
    from muserve_export.bundling.export import export_run
    from muserve_export.training.run import RunFolder

    run = RunFolder(namespace.run_folder)
    folder = export_run(
        installed_families().named(run.origin()[0]),
        run,
        namespace.out,
        name=namespace.name,
        version=namespace.version,
        evaluate=namespace.evaluate,
        notes=_read_text(namespace.notes) if namespace.notes else "",
    )
    print(f"exported: {folder}; serve it: muserve-server --models {namespace.out}")


def _evaluate(namespace: argparse.Namespace) -> None:
    from muserve_export.bundling.card import metrics_table
    from muserve_export.measuring.evaluate import evaluate_bundle, family_of

    if namespace.details and len(namespace.bundles) > 1:
        raise ExportError(f"--details is for one bundle; {len(namespace.bundles)} were given")
    families, figures = installed_families(), {}
    for path in namespace.bundles:
        name = family_of(path)
        if not name:
            raise ExportError(f"{path}: its manifest names no family under training; it cannot be measured")
        figures[str(path)] = evaluate_bundle(
            families.named(name), path, data=namespace.data, part=namespace.part, details=namespace.details
        )
    table = metrics_table(figures)
    print(table)
    if namespace.out:
        namespace.out.write_text(table + "\n", encoding="utf-8")


def _verify(namespace: argparse.Namespace) -> None:
    for path in namespace.bundles:
        bundle = asyncio.run(_open(path))
        print(f"{path}: whole, {bundle}; its golden requests give what was recorded at export")


def _recipes(_namespace: argparse.Namespace) -> None:
    rows = [
        (family.name, recipe, describe_recipe(recipe_path(family, recipe)))
        for family in installed_families().values()
        for recipe in recipe_names(family)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for family, recipe, description in rows:
        print(f"{family:<{widths[0]}}  {recipe:<{widths[1]}}  {description}".rstrip())


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read as text ({error})") from error


async def _open(path: Path) -> Any:
    from muserve_server.model import LocalModel

    async with await LocalModel.open(path) as model:
        return model.bundle
