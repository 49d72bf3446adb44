"""`muserve images`: generates images into PNG files, and says how to reproduce them."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from muserve.configuration import ConfigurationError
from muserve_client.calls.image.result import Images
from muserve_client.calls.kind import Command
from muserve_client.client import Client
from muserve_client.flags import add_model_flags, client_arguments

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", metavar="N", type=int, help="number of images (default: one per label, or 1)")
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="x.png: one file, a contact sheet of several images; a folder, or a pattern such as 'out/{sample}.png': "
        "one file per image (default: MODEL-SEED.png)",
    )
    parser.add_argument(
        "--label",
        metavar="LABEL",
        dest="labels",
        action="append",
        default=[],
        help="what to show; give one for all images, or one per image",
    )
    parser.add_argument(
        "--labels", metavar="A,B,…", action="extend", type=lambda text: text.split(","), help="the same as one list"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="reproduces the same images (default: drawn and printed)")
    parser.add_argument(
        "--first-sample",
        metavar="N",
        type=int,
        default=0,
        help="index of the first sample in the seed's series (default: 0)",
    )
    parser.add_argument(
        "--truncation",
        metavar="X",
        type=float,
        help="above 0, at most 1: lower is more typical, less varied (default: 1)",
    )
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--sheet", action="store_true", default=None, help="one contact sheet")
    layout.add_argument("--separate", action="store_false", dest="sheet", default=None, help="one file per image")
    add_model_flags(parser)


def _run(namespace: argparse.Namespace) -> int:
    several = (namespace.count or len(namespace.labels)) > 1
    is_file = namespace.out is None or (_is_png(namespace.out) and "{" not in namespace.out)
    sheet = several and is_file if namespace.sheet is None else namespace.sheet
    if several and is_file and not sheet:
        raise ConfigurationError(
            f"--separate needs more than the one file {namespace.out or 'that is the default'}; "
            "give --out FOLDER/ or a pattern as in --out 'out/{sample}.png'"
        )
    with Client(**client_arguments(namespace)) as client:
        images = client.images(
            namespace.count,
            labels=namespace.labels,
            seed=namespace.seed,
            first_sample=namespace.first_sample,
            truncation=namespace.truncation,
            sheet=sheet,
            model=namespace.model,
            version=namespace.version,
        )
    out = namespace.out or f"{images.info.model}-{images.info.seed}.png"
    try:
        paths = images.save(out)
    except ValueError as error:
        raise ConfigurationError(f"--out: {error}") from error
    _report(namespace, images, paths, out)
    return 0


def _is_png(out: str) -> bool:
    return out.lower().endswith(".png") and not Path(out).is_dir()


def _report(namespace: argparse.Namespace, images: Images, paths: list[Path], out: str) -> None:
    info = images.info
    print(f"saved {paths[0]}" if len(paths) == 1 else f"saved {len(paths)} files: {paths[0]} … {paths[-1]}")
    print(f"model {info.model}, version {info.version}, seed {info.seed}")
    again = ["muserve", "images", "--model", info.model, "--version", str(info.version), "--seed", str(info.seed)]
    if namespace.server:
        again += ["--server", namespace.server]
    if namespace.count is not None:
        again += ["--count", str(namespace.count)]
    for label in namespace.labels:
        again += ["--label", label]
    if namespace.first_sample:
        again += ["--first-sample", str(namespace.first_sample)]
    if namespace.truncation is not None:
        again += ["--truncation", str(namespace.truncation)]
    if namespace.sheet is not None:
        again += ["--sheet" if namespace.sheet else "--separate"]
    print(f"again: {shlex.join([*again, '--out', out])}")


COMMAND = Command("images", "Generate images into PNG files.", _add_flags, _run)
