"""Each snippet of README and its neighbours does what it shows: real commands, a real server, a short real training."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest

from muserve import __version__
from muserve_export.families import installed_families
from tests.answer_bundles import copy_bundle
from tests.bundles import forecast_bundle, image_bundle
from tests.music_bundles import music_bundle
from tests.repo.snippets import (
    REPOSITORY,
    Block,
    Reader,
    SnippetError,
    blocks,
    commands,
    tracked,
    write_own_images,
    write_own_melody,
    write_own_music,
    write_own_notes,
    write_own_photo,
    write_own_questions,
    write_own_sales,
    write_own_seasons,
)
from tests.servers import server_process
from tests.translation_bundles import scene_bundle

DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "deploy/README.md", "clients/python/README.md", "export/README.md",
    "server/README.md",
)  # fmt: skip
TESTED_ELSEWHERE = {
    "clients/examples/node/README.md": "tests/ecosystem/test_other_languages.py",
    "clients/examples/buf-curl/README.md": "tests/ecosystem/test_other_languages.py",
    "clients/examples/web/README.md": "tests/ecosystem/test_web.py",
    "examples/plugin/README.md": "tests/ecosystem/test_plugin_example.py",
}
HISTORY = "docs/"  # what was run then, not what to run now

MOST_COMMANDS = 5


def own_data_paths(found: Sequence[Block]) -> dict[str, tuple[Block, Block]]:
    """Returns by family the block that trains, exports and serves, and the one after it, which asks."""
    return {
        family: (first, second)
        for first, second in pairwise(found)
        for family in installed_families()
        if f"muserve-export train {family}" in first.text
    }


PATHS = own_data_paths(blocks("README.md"))
IN_PATHS = {block for path in PATHS.values() for block in path}
WITH_CURL = {block for block in blocks("README.md") if "curl" in block.text}  # see test_json_lines.py
SNIPPETS = [block for document in DOCUMENTS for block in blocks(document) if block not in IN_PATHS | WITH_CURL]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the bundled models: the README asks for a 7."""
    folder = tmp_path_factory.mktemp("models")
    image_bundle(folder, "digits", labels=tuple("0123456789"))
    forecast_bundle(folder, "forecast")
    music_bundle(folder, "music")
    scene_bundle(folder, "translation")
    copy_bundle(folder, "answers")
    return folder


@pytest.fixture(scope="module")
def address(models: Path) -> Iterator[str]:
    with server_process(models) as server:
        yield f"localhost:{server.grpc_port}"


@pytest.fixture
def reader(tmp_path: Path, models: Path, address: str) -> Iterator[Reader]:
    write_own_images(tmp_path / "my-images")
    write_own_sales(tmp_path / "sales.csv")
    write_own_music(tmp_path / "my-music")
    write_own_melody(tmp_path / "melody.mid")
    write_own_seasons(tmp_path / "my-seasons")
    write_own_photo(tmp_path / "photo.jpg")
    write_own_questions(tmp_path / "my-questions.csv")
    write_own_notes(tmp_path / "notes.txt")
    example = tmp_path / "clients/examples/satellite.jpg"
    example.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / example.relative_to(tmp_path), example)
    with ExitStack() as servers:
        yield Reader(tmp_path, models, address, servers)


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_a_snippet_does_what_it_shows(block: Block, reader: Reader) -> None:
    reader.follow(block)


@pytest.mark.parametrize("family", installed_families())
def test_own_data_come_out_of_a_server_after_few_commands(family: str, reader: Reader) -> None:
    path = PATHS[family]
    assert sum(len(list(commands(block.text))) for block in path) <= MOST_COMMANDS
    for block in path:
        reader.follow(block)


def test_every_document_with_snippets_is_tested() -> None:
    documents = {name for name in tracked("*.md") if not name.startswith(HISTORY) and blocks(name)}
    assert documents == {*DOCUMENTS, *TESTED_ELSEWHERE}
    assert all((REPOSITORY / test).is_file() for test in TESTED_ELSEWHERE.values())


def test_blocks_are_found_where_they_stand() -> None:
    found = blocks("x.md", "one\n```sh\nmake a\n\nmake b\n```\n\n  ```python\n  pass\n  ```\n")
    assert found == [Block("x.md", 2, "sh", "make a\n\nmake b"), Block("x.md", 8, "python", "  pass")]


def test_a_block_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(SnippetError, match=r"x\.md:1"):
        blocks("x.md", "```sh\nmake test\n")


@pytest.mark.parametrize(
    ("language", "text", "reason"),
    [
        ("sh", "make test\ncurl localhost:8001", "no rule knows how to test 'curl"),
        ("sh", "muserve models | head -1", "no rule knows how to test 'muserve models"),
        ("sh", "make nonesuch", "the Makefile has"),
        ("sh", "make test lint", "the Makefile has"),
        ("sh", "pip install '.[nonesuch]'", "pyproject.toml has the extras"),
        ("sh", "pip install '.[server]'  # or '.[nonesuch]'", "pyproject.toml has the extras"),
        ("sh", "pip uninstall '.[server]'", "pyproject.toml has the extras"),
        ("sh", "muserve nonesuch", "ended with 2"),
        ("sh", "muserve images --label eleven", "ended with 1"),
        ("sh", "muserve music --style polka --out a.mid", "ended with 1"),
        ("sh", "docker build -t muserve:0.0.0 .", f"this is version {__version__}"),
        ("sh", f"docker build -t muserve:{__version__} deploy", "there is no Dockerfile"),
        ("sh", f"docker run -p 9001:9001 muserve:{__version__}", "the server listens on"),
        ("python", "from muserve_client import Nonesuch", "ImportError"),
        ("python", "import muserve_client as m\nm.Client('localhost:8001').images(labels='x')", "InvalidRequestError"),
        ("ruby", "puts 1", "no rule knows the language 'ruby'"),
        ("", "muserve models", "no rule knows the language ''"),
    ],
)
def test_a_snippet_that_cannot_be_tested_or_fails_is_an_error(
    language: str, text: str, reason: str, reader: Reader
) -> None:
    with pytest.raises(SnippetError, match=reason):
        reader.follow(Block("x.md", 1, language, text))
