"""Bundles on disk: what is read, what is refused and with which words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muserve.bundle import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    Bundle,
    BundleError,
    BundleFileError,
    ManifestError,
    file_sha256,
    read_bundle,
    verify_files,
    write_manifest,
)
from muserve.v1 import common_pb2, manifest_pb2

CARD = "MODEL_CARD.md"
GRAPH = "graphs/generator.onnx"


def manifest(**changes: Any) -> manifest_pb2.ModelManifest:
    fields: dict[str, Any] = {
        "name": "digits",
        "version": 3,
        "task": common_pb2.TASK_IMAGE,
        "graphs": [manifest_pb2.Graph(role="generator", onnx_file=GRAPH)],
    }
    return manifest_pb2.ModelManifest(**(fields | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a bundle, without a manifest."""
    for name, content in ((GRAPH, b"onnx"), ("graphs/generator.ts", b"torch"), (CARD, b"")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def bundle(folder: Path) -> Bundle:
    """A whole bundle."""
    return write_manifest(folder, manifest(), optional=frozenset({"graphs/generator.ts"}))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST_FILE).read_bytes())
    change(content)
    (folder / MANIFEST_FILE).write_text(json.dumps(content))


def test_what_is_written_is_read(bundle: Bundle) -> None:
    assert read_bundle(bundle.folder) == bundle
    assert str(bundle) == "digits/3"
    assert bundle.manifest.format_version == FORMAT_VERSION
    assert bundle.digest == hashlib.sha256((bundle.folder / MANIFEST_FILE).read_bytes()).hexdigest()
    assert [(file.path, file.size_bytes, file.optional) for file in bundle.manifest.files] == [
        (CARD, 0, False),
        (GRAPH, 4, False),
        ("graphs/generator.ts", 5, True),
    ]
    assert bundle.manifest.files[1].sha256 == hashlib.sha256(b"onnx").hexdigest() == file_sha256(bundle.folder / GRAPH)
    verify_files(bundle)


def test_writing_again_gives_the_same_digest(bundle: Bundle) -> None:
    again = write_manifest(bundle.folder, bundle.manifest, optional=frozenset({"graphs/generator.ts"}))
    assert again.digest == bundle.digest
    assert sorted(path.name for path in bundle.folder.iterdir()) == [CARD, "graphs", MANIFEST_FILE]


def test_the_callers_manifest_is_not_changed(folder: Path) -> None:
    mine = manifest()
    write_manifest(folder, mine, optional=frozenset())
    assert mine == manifest()


def test_unknown_fields_of_the_same_format_are_ignored(bundle: Bundle) -> None:
    edit(bundle.folder, lambda content: content.update(fieldOfTomorrow={"a": 1}))
    assert read_bundle(bundle.folder).manifest == bundle.manifest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"formatVersion": 2}, "formatVersion is 2; this build reads 1"),
        ({"formatVersion": None}, "formatVersion is None"),
        ({"formatVersion": "1"}, "formatVersion is '1'"),
        ({"name": "Digits"}, "name is 'Digits'; allowed: a lower-case letter"),
        ({"name": ""}, "name is ''"),
        ({"name": "a/../b"}, "name is 'a/../b'"),
        ({"name": "a" * 64}, "allowed: a lower-case letter, then up to 62"),
        ({"name": "digits\n"}, "name is"),
        ({"version": 0}, "version is 0; it must be at least 1"),
        ({"version": -1}, "not a manifest as proto-JSON"),
        ({"version": "three"}, "not a manifest as proto-JSON"),
        ({"task": "TASK_UNSPECIFIED"}, "task is missing or unknown"),
        ({"task": "TASK_OF_TOMORROW"}, "task is missing or unknown"),
        ({"graphs": []}, "at least one is needed"),
        ({"graphs": [{"role": "g", "onnxFile": GRAPH}] * 2}, "each once"),
        ({"graphs": [{"role": "g", "onnxFile": "other.onnx"}]}, "'other.onnx' is used but not listed"),
        ({"goldens": [{"name": "g", "file": "g.npz"}]}, "'g.npz' is used but not listed"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(bundle: Bundle, change: dict[str, Any], words: str) -> None:
    edit(bundle.folder, lambda content: content.update(change))
    with pytest.raises(ManifestError) as caught:
        read_bundle(bundle.folder)
    assert words in str(caught.value)
    assert str(bundle.folder / MANIFEST_FILE) in str(caught.value)


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/1/x", "graphs/../../x", "a\\..\\b", ""])
def test_paths_out_of_the_bundle_are_refused(bundle: Bundle, path: str) -> None:
    edit(bundle.folder, lambda content: content["files"].append({"path": path}))
    with pytest.raises(ManifestError, match="leaves the bundle"):
        read_bundle(bundle.folder)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"1", b"{", b"\xff", b"null", b'{"formatVersion":1,"name":7}', b"[" * 10**6]
)
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ManifestError, match="export or copy it again"):
        read_bundle(folder)


def test_a_folder_without_a_manifest_is_not_finished(folder: Path) -> None:
    with pytest.raises(ManifestError, match="is not finished"):
        read_bundle(folder)
    (folder / MANIFEST_FILE).mkdir()
    with pytest.raises(ManifestError):
        read_bundle(folder)


def test_a_huge_manifest_is_refused(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ManifestError, match=str(MAX_MANIFEST_BYTES)):
        read_bundle(folder)


def test_a_changed_file_is_found(bundle: Bundle) -> None:
    (bundle.folder / GRAPH).write_bytes(b"oNnx")
    with pytest.raises(BundleFileError, match=r"generator.onnx has SHA-256 .* copy the bundle again"):
        verify_files(bundle)


def test_a_file_beside_the_graphs_that_is_not_listed_is_found(bundle: Bundle) -> None:
    """A graph may take its weights from files beside it, which must be those that were proven."""
    folder = (bundle.folder / GRAPH).parent
    for name in ("other.weights", "deeper/other.weights"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"weights")
        with pytest.raises(BundleFileError, match=rf"graphs/{name} is not listed"):
            verify_files(bundle)
        (folder / name).unlink()
    verify_files(bundle)


def test_a_file_cut_short_is_found(bundle: Bundle) -> None:
    (bundle.folder / GRAPH).write_bytes(b"onn")
    with pytest.raises(BundleFileError, match=r"generator.onnx has 3 bytes, the manifest says 4"):
        verify_files(bundle)


def test_a_missing_file_is_found(bundle: Bundle) -> None:
    (bundle.folder / CARD).unlink()
    with pytest.raises(BundleFileError, match=r"MODEL_CARD.md is missing"):
        verify_files(bundle)


def test_an_optional_file_may_be_missing_but_not_changed(bundle: Bundle) -> None:
    optional = bundle.folder / "graphs/generator.ts"
    optional.write_bytes(b"TORCH")
    with pytest.raises(BundleFileError, match=r"generator.ts"):
        verify_files(bundle)
    optional.unlink()
    verify_files(bundle)
    optional.mkdir()
    with pytest.raises(BundleFileError, match=r"generator.ts"):
        verify_files(bundle)


def test_a_link_out_of_the_bundle_is_found(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x"
    outside.write_bytes(b"onnx")
    (bundle.folder / GRAPH).unlink()
    (bundle.folder / GRAPH).symlink_to(outside)
    with pytest.raises(BundleFileError, match="link out of the bundle"):
        verify_files(bundle)


def test_what_could_not_be_read_back_is_not_written_silently(folder: Path) -> None:
    with pytest.raises(ManifestError, match="version is 0"):
        write_manifest(folder, manifest(version=0), optional=frozenset())


def test_the_tree_of_errors() -> None:
    assert set(BundleError.__subclasses__()) >= {ManifestError, BundleFileError}
