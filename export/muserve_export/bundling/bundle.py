"""Writes a whole bundle beside its place and moves it there in one step."""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message

from muserve import __version__
from muserve.bundle import NAME_PATTERN, NAME_RULE, golden_request, read_bundle, verify_files, write_manifest
from muserve.configuration import describe_value
from muserve.v1 import manifest_pb2
from muserve_export.bundling.card import model_card
from muserve_export.bundling.graphs import GraphSource, write_graphs
from muserve_export.errors import RunError
from muserve_server.model import LocalModel
from muserve_server.tasks import installed_kinds

__all__ = ["BundleDetails", "BundlePlan", "write_bundle"]

Samples = Callable[[LocalModel], Awaitable[Mapping[str, bytes]]]

_FRAMEWORKS = ("torch", "onnx", "onnxscript", "numpy")


@dataclass(frozen=True)
class BundlePlan:
    """What a family knows of the bundle that it wants written."""

    manifest: manifest_pb2.ModelManifest
    """Task, description, settings, training data, licence. Name, version, graphs and the rest are filled in."""
    graphs: Sequence[GraphSource]
    """The graphs."""
    goldens: Sequence[manifest_pb2.GoldenRequest]
    """Requests to record; without a file yet."""
    samples: Samples | None = None
    """Makes files to show, by name, from the opened bundle."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """What else the manifest says of the training; every setting of the run is added."""
    assets: Mapping[str, bytes] = field(default_factory=dict)
    """Files that the task reads, by their path in the bundle: "assets/tokenizer.json"."""


@dataclass(frozen=True)
class BundleDetails:
    """What the command line and the run say of the bundle."""

    name: str
    """Name of the model."""
    version: int | None = None
    """Positive and new; None takes one more than the newest."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Every setting that the model was trained with."""
    notes: str = ""
    """What the model card says of limits and known faults, as Markdown."""
    measure: Callable[[Path], Sequence[manifest_pb2.Metric]] | None = None
    """Measures the written bundle; None to leave figures out."""


def write_bundle(plan: BundlePlan, details: BundleDetails, destination: Path) -> Path:
    """Writes models/<name>/<version>.

    Args:
        plan: What to write.
        details: Its name and version, and what else its manifest and card say.
        destination: The folder of all bundles.

    Returns:
        The bundle's folder.

    Raises:
        RunError: The version exists already or the name cannot be used.
        ParityError: A graph does not compute what the module does.
    """
    name, version = details.name, details.version
    if not NAME_PATTERN.fullmatch(name):
        raise RunError(f"name is {name!r}; allowed: {NAME_RULE}")
    versions = [int(path.name) for path in (destination / name).glob("*") if path.name.isdecimal()]
    version = version if version is not None else max(versions, default=0) + 1
    if not 1 <= version < 2**32 or version in versions:
        raise RunError(
            f"version is {version}; {name} has {sorted(versions) or 'none'}: take a new one, versions are never reused"
        )
    (destination / name).mkdir(parents=True, exist_ok=True)
    # Hidden, so that a server that watches the folder does not see it before it is whole.
    staged = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=destination / name))
    try:
        _write(plan, replace(details, version=version), staged)
        staged.chmod(0o755)
        return _publish(staged, destination / name / str(version))
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise


def _publish(staged: Path, folder: Path) -> Path:
    try:
        if folder.exists():
            raise FileExistsError(folder)
        return staged.rename(folder)
    except OSError as error:
        raise RunError(
            f"{folder}: another export was faster, or it cannot be written ({error}); export again"
        ) from error


def _write(plan: BundlePlan, details: BundleDetails, folder: Path) -> None:
    manifest = manifest_pb2.ModelManifest()
    manifest.CopyFrom(plan.manifest)
    manifest.name, manifest.version = details.name, details.version or 1
    for path, content in plan.assets.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    manifest.graphs.extend(write_graphs(plan.graphs, folder))
    manifest.frameworks.update({"muserve": __version__})
    manifest.frameworks.update({"onnxruntime": _onnxruntime_version()})
    manifest.frameworks.update({package: importlib.metadata.version(package) for package in _FRAMEWORKS})
    manifest.training.update(
        {key: describe_value(value) for key, value in {**details.training, **plan.training}.items()}
    )
    optional = frozenset(graph.torchscript_file for graph in manifest.graphs)
    write_manifest(folder, manifest, optional=optional)
    asyncio.run(_record(plan, folder, manifest))
    if details.measure:
        write_manifest(folder, manifest, optional=optional)
        manifest.metrics.extend(details.measure(folder))
    samples = sorted(path.name for path in (folder / "samples").iterdir())
    (folder / "MODEL_CARD.md").write_text(model_card(manifest, samples, details.notes), encoding="utf-8")
    write_manifest(
        folder, manifest, optional=optional | {f"samples/{sample}" for sample in samples} | {"MODEL_CARD.md"}
    )
    asyncio.run(_prove(folder))


def _onnxruntime_version() -> str:
    """Of whichever of its two packages is installed."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(package)
    return ""


async def _record(plan: BundlePlan, folder: Path, manifest: manifest_pb2.ModelManifest) -> None:
    """Records the golden requests and makes the samples, through the code that serves them."""
    (folder / "goldens").mkdir()
    (folder / "samples").mkdir()
    async with await LocalModel.open(folder) as model:
        for golden in plan.goldens:
            tensors = await model.record(_request_of(golden))
            entry = manifest.goldens.add()
            entry.CopyFrom(golden)
            entry.file = f"goldens/{golden.name}.npz"
            with (folder / entry.file).open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **tensors)
        samples = await plan.samples(model) if plan.samples else {}
        for file_name, content in samples.items():
            (folder / "samples" / file_name).write_bytes(content)


def _request_of(golden: manifest_pb2.GoldenRequest) -> Message:
    request = golden_request(golden)
    if request is None:
        raise RunError(f"golden {golden.name!r} has no request")
    return request


async def _prove(folder: Path) -> None:
    """Opens the bundle as a server would; its golden requests run."""
    verify_files(read_bundle(folder, import_protos=installed_kinds().named))
    await (await LocalModel.open(folder)).close()
