"""What the documents say is so: links lead somewhere, settings and verbs are described, versions agree."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from muserve import __version__
from muserve.configuration import build, describe_value, read_toml
from muserve_client.cli import main as muserve
from muserve_export.cli import main as muserve_export
from muserve_export.families import installed_families, recipe_names, recipe_path
from muserve_server.settings import ENVIRONMENT_PREFIX, read_settings
from tests.options import every_option
from tests.repo.snippets import REPOSITORY, make_verbs, tracked

DOCUMENTS = tracked("*.md")
SETTINGS = {name: field for name, _, field in every_option()}
UNITS = {"_ms": "ms", "_s": "s", "_mib": "MiB", "_rows": "rows"}
PROJECTS = [tomllib.loads((REPOSITORY / name).read_text(encoding="utf-8")) for name in tracked("*pyproject.toml")]
# No environment can hold it beside onnxruntime, and constraints.txt comes from a working one.
NEVER_PINNED = {"onnxruntime-gpu"}


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```", "", read(name), flags=re.DOTALL | re.MULTILINE)


def inline_code(name: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(name))


# Links


def links(name: str) -> list[str]:
    """The relative targets of a document's links and images."""
    text = re.sub(r"`[^`\n]*`", "code", prose(name))
    targets = re.findall(r"\]\(<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\)", text)
    targets += re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    targets += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    return [target for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(name: str) -> set[str]:
    """The anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*#*$", prose(name), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def broken_links(name: str) -> list[str]:
    files = set(tracked())
    folders = {parent.as_posix() for file in files for parent in PurePosixPath(file).parents}
    broken = []
    for target in links(name):
        path, _, anchor = target.partition("#")
        found = (REPOSITORY / name).parent.joinpath(path).resolve() if path else REPOSITORY / name
        inside = found.relative_to(REPOSITORY).as_posix() if found.is_relative_to(REPOSITORY) else ".."
        if inside.startswith("models/") and inside.endswith(".ts"):
            continue  # TorchScript may stay out of git
        known = inside in files or inside in folders
        if not known or (anchor and inside.endswith(".md") and anchor not in anchors(inside)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_that_a_clone_has(document: str) -> None:
    assert broken_links(document) == []


def test_links_of_every_kind_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.md").write_text(
        "# A `b`, [c](d.md)\n[one](a.md#x) ![two](b.png) [![three](c.png)](d/) [four](https://e.org) `[no](f)`\n"
        '```sh\n[no](g)\n```\n<img src="h.png">\n[five](i.md "title")\n\n[six]: j.md\n'
    )
    monkeypatch.setattr("tests.repo.test_docs.REPOSITORY", tmp_path)
    assert sorted(links("x.md")) == ["a.md#x", "b.png", "c.png", "d.md", "d/", "h.png", "i.md", "j.md"]
    assert anchors("x.md") == {"a-b-c"}


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith(("docs/", "CHANGELOG"))])
def test_paths_in_the_text_exist(document: str) -> None:
    tops = {PurePosixPath(name).parts[0] for name in tracked()}
    named = {word for code in inline_code(document) for word in code.split() if word.split("/")[0] in tops}
    paths = {path for path in named if "/" in path and not re.search(r"[<>*{}…]", path)}
    assert {path for path in paths if not (REPOSITORY / path).exists()} == set()


# Settings and verbs


@pytest.fixture(scope="module")
def described() -> dict[str, str]:
    """What `muserve-server --help` says of each flag."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as output:
        patch.setenv("COLUMNS", "1000")  # nothing is broken over lines
        patch.setenv("NO_COLOR", "1")
        with pytest.raises(SystemExit):
            read_settings(["--help"], {})
    entries = re.findall(r"^  --([a-z][a-z0-9-]*)(.*(?:\n {5,}.*)*)", output.getvalue(), re.MULTILINE)
    return {flag.replace("-", "_"): " ".join(text.split()) for flag, text in entries}


@pytest.mark.parametrize("name", SETTINGS)
def test_help_describes_each_setting(name: str, described: dict[str, str]) -> None:
    text, default = SETTINGS[name].metadata["help"], describe_value(SETTINGS[name].default) or "none"
    assert len(text.split()) >= 3
    assert text in described[name]
    assert described[name].endswith(f"(default: {default})")


@pytest.mark.parametrize("name", [name for name in SETTINGS if name.endswith(tuple(UNITS))])
def test_help_gives_the_unit_that_the_name_has(name: str, described: dict[str, str]) -> None:
    (unit,) = (unit for suffix, unit in UNITS.items() if name.endswith(suffix))
    assert f" [{unit}] (default:" in described[name]


def test_defaults_in_the_text_are_the_defaults() -> None:
    found = re.findall(r"`(\w+)` \(([\d,]+)", read("deploy/README.md"))
    assert len(found) >= 5
    assert [(name, SETTINGS[name].default) for name, _ in found] == [(n, int(v.replace(",", ""))) for n, v in found]


def test_settings_named_for_operators_exist() -> None:
    texts = [read(name) for name in tracked("*.md", "deploy/*", "Dockerfile")]
    named = {name for text in texts for name in re.findall(rf"{ENVIRONMENT_PREFIX}([A-Z_]+[A-Z])", text)}
    assert {"DRAIN_DELAY_S", "MODELS"} <= named
    assert {name.lower() for name in named} <= set(SETTINGS)


def test_each_verb_of_the_makefile_has_a_help_text() -> None:
    makefile = read("Makefile")
    rules = set(re.findall(r"^([a-z-]+):(?!=)", makefile, re.MULTILINE))
    phony = {name for line in re.findall(r"^\.PHONY:(.*)", makefile, re.MULTILINE) for name in line.split()}
    assert rules == phony == make_verbs()


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith("docs/")])
def test_commands_in_the_text_exist(document: str) -> None:
    codes = [code.split() for code in inline_code(document)]
    assert {words[1] for words in codes if words[0] == "make" and len(words) > 1} <= make_verbs()
    mains: dict[str, Callable[[list[str]], Any]] = {"muserve": muserve, "muserve-export": muserve_export}
    for words in codes:
        if words[0] in mains and len(words) > 1:
            with pytest.raises(SystemExit) as end:
                mains[words[0]]([words[1], "--help"])
            assert end.value.code == 0, words


# Versions and requirements


def requirements() -> list[Requirement]:
    """What the distributions need of others, and the tools."""
    listed: list[str] = []
    for file in PROJECTS:
        listed += file["project"].get("dependencies", [])
        groups = (
            *file["project"].get("optional-dependencies", {}).values(),
            *file.get("dependency-groups", {}).values(),
        )
        needs = [need for group in groups for need in group if isinstance(need, str)]  # no group in a group
        listed += [need for need in needs if " @ {root:uri}" not in need]
    return [Requirement(need) for need in listed if not need.startswith("muserve")]


def pins() -> dict[str, str]:
    lines = [line for line in read("constraints.txt").splitlines() if line and not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+", line)]
    assert wrong == [], "only NAME==VERSION: no addresses, hosts or files"
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_a_requirement_has_a_lower_bound_and_is_pinned_within_it(requirement: Requirement) -> None:
    assert [bound for bound in requirement.specifier if bound.operator in (">=", "==", "~=")]
    name = canonicalize_name(requirement.name)
    if name not in NEVER_PINNED:
        assert requirement.specifier.contains(Version(pins()[name]))


def test_every_place_that_names_the_version_names_this_one() -> None:
    for name in tracked("deploy/*", "Dockerfile"):
        assert set(re.findall(r"\bmuserve:(\d+\.\d+\.\d+)", read(name))) <= {__version__}, name
    assert re.findall(r"^ARG VERSION=(.+)$", read("Dockerfile"), re.MULTILINE) == [__version__]


# What must not leak, what must be named

# Written in pieces, or this file would be its own finding.
PRIVATE = re.compile(
    r"(?<![\w.])/" + r"(?:root|work|home/\w+|opt/pypi|tmp/bash\w*)/"
    r"|(?:py" + r"pi\.org|python" + r"hosted\.org|registry\.npm" + r"js|npm" + r"registry)"
    r"|--(?:extra-)?index-" + r"url|--trusted-" + r"host|--find-" + r"links"
    r"|https?://(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d"
)
ALLOWED = {
    ("tests/image/built_image.py", "/" + "root/"),  # looked for inside the image
    ("models/answers/1/assets/foldoc.jsonl", "/" + "home/httpd/"),  # the dictionary's own words, of a web server
}


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = set()
    for name in tracked():
        content = (REPOSITORY / name).read_bytes()
        if b"\0" not in content:
            text = content.decode("utf-8", errors="replace")
            found |= {(name, match) for match in PRIVATE.findall(text)}
    assert found - ALLOWED == set()


@pytest.mark.parametrize(
    "text", ["/" + "work/x", "/" + "home/me/x", "https://py" + "pi.org/simple", "http://10" + ".0.0.7/"]
)
def test_machines_and_registries_are_recognised(text: str) -> None:
    assert PRIVATE.search(text)


def test_third_party_names_all_that_was_trained() -> None:
    weights = [name for name in tracked("models/*/*", "*.pt") if not name.startswith("tests/")]
    carried = {f"{PurePosixPath(*PurePosixPath(n).parts[:2])}/" if n.startswith("models/") else n for n in weights}
    assert carried, "the repository carries no models"
    assert carried <= set(inline_code("THIRD_PARTY.md"))


# Recipes


@pytest.mark.parametrize("family", installed_families())
def test_a_family_has_its_three_recipes_and_they_can_be_read(family: str) -> None:
    names = recipe_names(family)
    assert {"tiny", "tutorial", "bundled"} <= set(names)
    for name in names:
        values = read_toml(recipe_path(family, name))
        config = build(installed_families()[family].config, values)
        assert values, name
        assert all(hasattr(config, key) for key in values)


def test_every_recipe_belongs_to_a_family() -> None:
    folders = {PurePosixPath(name).parts[3] for name in tracked("export/**/recipes/*.toml")}
    assert folders == set(installed_families())
