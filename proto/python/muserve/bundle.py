"""A bundle on disk: where its files lie, reading and writing its manifest, proving that the files are the right ones.

A bundle is the folder models/<name>/<version>/. Its manifest.json is written last, so a folder without one is not
finished. Nothing here opens a graph.

    BundleError
    ├── ManifestError    manifest.json is missing, unreadable, or contradicts itself
    └── BundleFileError  a file is missing, too many, cut short, or not the one that the manifest names
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message

from muserve.v1 import common_pb2, manifest_pb2

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_FILE",
    "NAME_PATTERN",
    "NAME_RULE",
    "Bundle",
    "BundleError",
    "BundleFileError",
    "ManifestError",
    "file_sha256",
    "golden_request",
    "read_bundle",
    "settings_of",
    "task_of",
    "verify_files",
    "write_manifest",
]

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20
NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,62}")
"""Names of models and of task kinds."""
NAME_RULE = "a lower-case letter, then up to 62 letters, digits, hyphens"
"""The pattern in words."""


class BundleError(Exception):
    """A bundle cannot be used. The text says which, why, and how to mend it."""


class ManifestError(BundleError):
    """manifest.json is missing, unreadable, or contradicts itself or its place."""


class BundleFileError(BundleError):
    """A file of the bundle is missing, cut short, or not the one that the manifest names."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose manifest has been read and checked. Its files have not."""

    folder: Path
    """The folder that holds manifest.json."""
    manifest: manifest_pb2.ModelManifest
    """What it says of itself. Not to be changed."""
    digest: str
    """SHA-256 of the bytes of manifest.json, 64 lower-case hex digits."""

    @property
    def task(self) -> str:
        """Name of the task kind that serves it: "image"."""
        return task_of(self.manifest)

    @property
    def settings(self) -> Message:
        """What the task must know: the message that fits the task, such as ImageSettings.

        Raises:
            ManifestError: There is none.
        """
        settings = settings_of(self.manifest)
        if settings is None:
            raise ManifestError(f"{self}: the manifest has no settings for its task")
        return settings

    def __str__(self) -> str:
        return f"{self.manifest.name}/{self.manifest.version}"


def task_of(manifest: manifest_pb2.ModelManifest) -> str:
    """Returns the name of the task kind that serves a bundle: "image"; "" where the manifest names none."""
    if manifest.task_name:
        return manifest.task_name
    if manifest.task not in common_pb2.Task.values() or manifest.task == common_pb2.TASK_UNSPECIFIED:
        return ""
    return common_pb2.Task.Name(manifest.task).removeprefix("TASK_").lower()


def settings_of(manifest: manifest_pb2.ModelManifest) -> Message | None:
    """Returns what the task must know, or None if the manifest does not say it.

    Raises:
        ManifestError: They are a message of a kind whose protos are not imported.
    """
    return _member(manifest, "settings")


def golden_request(golden: manifest_pb2.GoldenRequest) -> Message | None:
    """Returns the request of a golden, or None if this build does not know it.

    Raises:
        ManifestError: It is a message of a kind whose protos are not imported.
    """
    return _member(golden, "request")


def _member(message: Message, oneof: str) -> Message | None:
    """Returns the message that a oneof holds; what an Any holds in place of the Any."""
    field = message.WhichOneof(oneof)
    held: Message | None = getattr(message, field) if field else None
    if not isinstance(held, any_pb2.Any):
        return held
    try:
        kind = message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(held.TypeName()))
    except KeyError as error:
        raise ManifestError(
            f"the message {held.TypeName()!r} is not known here; import its task kind's protos"
        ) from error
    unpacked: Message = kind.FromString(held.value)
    return unpacked


def _no_protos(_task_name: str) -> None:
    """Leaves it to the caller to have imported what manifests need."""


def read_bundle(folder: Path, *, import_protos: Callable[[str], object] = _no_protos) -> Bundle:
    """Reads and checks a bundle's manifest.

    Args:
        folder: The bundle's folder. Its own name and its parent's do not matter here; a repository checks them.
        import_protos: Called with the manifest's `task_name`, if it has one, before the rest is read: imports that
            kind's protos, without which its settings cannot be read, or raises ManifestError.

    Raises:
        ManifestError: The manifest is missing, no proto-JSON, of another format version, or incomplete.
    """
    path = folder / MANIFEST_FILE
    try:
        if not path.is_file():  # a pipe would be read forever
            raise ManifestError(f"{path}: no such file; a bundle without it is not finished: export or copy it again")
        with path.open("rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestError(
            f"{path}: cannot be read ({error.strerror}); a bundle without it is not finished: export or copy it again"
        ) from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"{path}: a manifest has at most {MAX_MANIFEST_BYTES} bytes")
    manifest = manifest_pb2.ModelManifest()
    try:
        document = json.loads(content)
        version = document.get("formatVersion")
        if version != FORMAT_VERSION:
            raise ManifestError(f"{path}: formatVersion is {version!r}; this build reads {FORMAT_VERSION}")
        if task_name := document.get("taskName"):
            _import_protos(import_protos, task_name, path)
        json_format.Parse(content.decode(), manifest, ignore_unknown_fields=True)
    except (ValueError, AttributeError, RecursionError, json_format.ParseError) as error:
        raise ManifestError(f"{path}: not a manifest as proto-JSON ({error}); export or copy it again") from error
    _check(manifest, path)
    return Bundle(folder, manifest, hashlib.sha256(content).hexdigest())


def _import_protos(import_protos: Callable[[str], object], task_name: object, path: Path) -> None:
    if not isinstance(task_name, str) or not NAME_PATTERN.fullmatch(task_name):
        raise ManifestError(f"{path}: taskName is {task_name!r}; allowed: {NAME_RULE}")
    try:
        import_protos(task_name)
    except ManifestError as error:
        raise ManifestError(f"{path}: {error}") from error


def _check(manifest: manifest_pb2.ModelManifest, path: Path) -> None:
    """Finds what a reader could not go on without. The task checks its own settings."""
    if not NAME_PATTERN.fullmatch(manifest.name):
        raise ManifestError(f"{path}: name is {manifest.name!r}; allowed: {NAME_RULE}")
    if manifest.version < 1:
        raise ManifestError(f"{path}: version is {manifest.version}; it must be at least 1")
    if manifest.task_name and manifest.task:
        raise ManifestError(f"{path}: it has both a task and a task_name; task_name is for kinds outside the enum Task")
    if not task_of(manifest):
        raise ManifestError(f"{path}: task is missing or unknown to this build")
    roles = [graph.role for graph in manifest.graphs]
    if not roles or len(set(roles)) != len(roles):
        raise ManifestError(f"{path}: graphs have the roles {roles}; at least one is needed, each once")
    listed = {file.path for file in manifest.files}
    named = [graph.onnx_file for graph in manifest.graphs] + [golden.file for golden in manifest.goldens]
    for name in named:
        if name not in listed:
            raise ManifestError(f"{path}: {name!r} is used but not listed under files")
    for name in listed:
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise ManifestError(f"{path}: the file path {name!r} leaves the bundle; only paths inside it are allowed")


def verify_files(bundle: Bundle) -> None:
    """Proves that every file of a bundle is the one that its manifest names.

    Raises:
        BundleFileError: Names the first file that is missing, cut short or different, or that lies beside the graphs
            without being listed: a graph may take its weights from there.
    """
    inside = bundle.folder.resolve()
    listed = {bundle.folder / MANIFEST_FILE, *(bundle.folder / file.path for file in bundle.manifest.files)}
    for folder in {(bundle.folder / graph.onnx_file).parent for graph in bundle.manifest.graphs}:
        for path in sorted(folder.rglob("*")):
            if path not in listed and not path.is_dir():
                raise BundleFileError(
                    f"{bundle}: {path.relative_to(bundle.folder).as_posix()} is not listed in the manifest; "
                    "take it away, or export the bundle again"
                )
    for file in bundle.manifest.files:
        path = bundle.folder / file.path
        if not path.resolve().is_relative_to(inside):
            raise BundleFileError(f"{bundle}: {file.path} is a link out of the bundle; copy the file itself into it")
        if not path.is_file():
            if file.optional and not path.exists():
                continue
            raise BundleFileError(f"{bundle}: {file.path} is missing; copy the whole bundle again")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise BundleFileError(
                f"{bundle}: {file.path} has {size} bytes, the manifest says {file.size_bytes}; "
                "the copy is not finished or was cut short: copy the bundle again"
            )
        digest = file_sha256(path)
        if digest != file.sha256:
            raise BundleFileError(
                f"{bundle}: {file.path} has SHA-256 {digest}, the manifest says {file.sha256}; "
                "the file was changed or belongs to another bundle: copy the bundle again"
            )


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: manifest_pb2.ModelManifest, *, optional: frozenset[str]) -> Bundle:
    """Lists every file in the folder with its digest, then writes manifest.json in one step, last.

    Args:
        folder: The bundle's folder, complete but for the manifest.
        manifest: Everything but `files` and `format_version`; not changed.
        optional: Paths of files without which the bundle is still whole.

    Returns:
        The bundle as a reader sees it.

    Raises:
        ManifestError: What would be written could not be read back.
    """
    complete = manifest_pb2.ModelManifest()
    complete.CopyFrom(manifest)
    complete.format_version = FORMAT_VERSION
    del complete.files[:]
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST_FILE):
        name = path.relative_to(folder).as_posix()
        complete.files.add(
            path=name, sha256=file_sha256(path), size_bytes=path.stat().st_size, optional=name in optional
        )
    text = json_format.MessageToJson(complete, indent=2)
    unfinished = folder / f".{MANIFEST_FILE}.part"
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, folder / MANIFEST_FILE)  # noqa: PTH105 - atomic on every platform
    return read_bundle(folder)
