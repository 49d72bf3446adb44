"""Families are found by entry points, broken ones are named and passed over, and help needs no torch."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from muserve.bundle import read_bundle
from muserve.configuration import ConfigurationError
from muserve_export.families import (
    Family,
    FamilyPackage,
    describe_recipe,
    find_families,
    installed_families,
    recipe_names,
    recipe_path,
)
from tests.export.outside_family import install_doubling
from tests.plugins import install, on_path

GROUP = "muserve.families"
MODELS = Path(__file__).parents[2] / "models"
CONFIG = """
    from dataclasses import dataclass
    from muserve.configuration import option
    from muserve_export.families import FamilyPackage
    from muserve_export.training.config import TrainingConfig

    @dataclass(frozen=True)
    class WaveConfig(TrainingConfig):
        learning_rate: float = option(1e-2, "of SGD", minimum=0)

    FAMILY = FamilyPackage("{name}", "waves of noise", WaveConfig, "{package}")
"""


def entry_points(site: Path) -> list[EntryPoint]:
    return [
        entry
        for distribution in distributions(path=[str(site)])
        for entry in distribution.entry_points
        if entry.group == GROUP
    ]


def install_family(site: Path, distribution: str, *, name: str = "waves", family: str | None = None) -> None:
    package = distribution.replace("-", "_")
    source = CONFIG.format(name=family or name, package=package)
    install(site, distribution, {f"{package}/__init__.py": source}, {GROUP: {name: f"{package}:FAMILY"}})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    with on_path(tmp_path / "site") as folder:
        yield folder


def run_command(site: Path, *arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs muserve-export in a process of its own that sees the folder's distributions."""
    program = code or "from muserve_export.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_house_brings_its_families_as_anyone_would() -> None:
    families = installed_families()
    assert {"answers", "digits", "forecast", "music", "translation"} <= set(families)
    assert not families.problems


@pytest.mark.parametrize("name", installed_families())
def test_a_package_has_the_functions_that_its_family_calls(name: str) -> None:
    family = installed_families()[name]
    assert isinstance(family, FamilyPackage)
    functions = {"data": ("load_data", 1), "train": ("make_learner", 3), "export": ("plan_bundle", 1)}
    for module, (function, count) in {**functions, "evaluate": ("measure", 4)}.items():
        made = getattr(import_module(f"{family.package}.{module}"), function)
        assert len(inspect.signature(made).parameters) == count, function
    assert hasattr(import_module(f"{family.package}.data"), "collect") == bool(family.sources)
    for package in family.baselines.values():
        for module, (function, count) in functions.items():
            if module == "data" and find_spec(f"{package}.data") is None:
                continue  # it learns from the family's
            made = getattr(import_module(f"{package}.{module}"), function)
            assert len(inspect.signature(made).parameters) == count, function


def test_another_package_brings_a_family(site: Path) -> None:
    install_family(site, "acme-waves")
    recipes = site / "acme_waves" / "recipes"
    recipes.mkdir()
    (recipes / "calm.toml").write_text("# Long, slow waves.\nlearning_rate = 0.5\n")
    family = find_families(entry_points(site))["waves"]
    assert (family.summary, recipe_names(family)) == ("waves of noise", ["calm"])
    assert describe_recipe(recipe_path(family, "calm")) == "Long, slow waves."
    listed = run_command(site, "recipes")
    assert listed.returncode == 0, listed.stderr
    assert any(row.split(maxsplit=2) == ["waves", "calm", "Long, slow waves."] for row in listed.stdout.splitlines())
    assert "learning-rate" in run_command(site, "train", "waves", "--help").stdout


def test_a_broken_package_is_named_and_the_rest_goes_on(site: Path) -> None:
    install(site, "acme-broken", {"acme_broken.py": "import no_such_thing"}, {GROUP: {"broken": "acme_broken:FAMILY"}})
    install_family(site, "acme-waves")
    families = find_families(entry_points(site))
    assert list(families) == ["waves"]
    assert "'acme-broken'" in families.problems["broken"]
    assert "no_such_thing" in families.problems["broken"]
    with pytest.raises(ConfigurationError, match=r"'acme-broken'.*no_such_thing"):
        families.named("broken")
    listed = run_command(site, "recipes")
    assert listed.returncode == 0
    assert "digits" in listed.stdout
    assert "warning: entry point 'broken' of the distribution 'acme-broken'" in listed.stderr


def test_two_families_of_one_name(site: Path) -> None:
    for distribution in ("zeta-waves", "acme-waves"):
        install_family(site, distribution)
    families = find_families(entry_points(site))
    assert getattr(families["waves"], "package", "") == "acme_waves"
    (problem,) = families.problems.values()
    assert "'zeta-waves'" in problem
    assert "'acme-waves' brings one of this name already" in problem


def test_the_house_wins_over_a_package_of_its_name(site: Path) -> None:
    install_family(site, "aaa-digits", name="digits")
    own = EntryPoint("digits", "muserve_export.families.digits:FAMILY", GROUP)
    families = find_families([*entry_points(site), own])
    assert families["digits"] is installed_families()["digits"]
    assert "'aaa-digits'" in families.problems["digits of aaa-digits"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("FAMILY = 3", "no muserve_export.families.Family"),
        (CONFIG.format(name="other", package="acme_odd"), "calls itself 'other'"),
        (
            CONFIG.format(name="waves", package="acme_odd").replace("WaveConfig, ", "int, "),
            "subclass of TrainingConfig",
        ),
        ("", "has no attribute 'FAMILY'"),
        (
            CONFIG.format(name="waves", package="acme_odd").replace("learning_rate: float", "out: float"),
            "the settings of its WaveConfig cannot be flags of `train`",
        ),
        (
            CONFIG.format(name="waves", package="acme_odd").replace("learning_rate: float", "size: 'Nonesuch'"),
            "the settings of its WaveConfig cannot be flags of `train`",
        ),
        (
            CONFIG.format(name="waves", package="acme_odd").replace("learning_rate: float", "run: float"),
            "has the setting 'run', a name that the command needs",
        ),
    ],
)
def test_what_is_no_family_is_refused(site: Path, source: str, message: str) -> None:
    install(site, "acme-odd", {"acme_odd/__init__.py": source}, {GROUP: {"waves": "acme_odd:FAMILY"}})
    families = find_families(entry_points(site))
    assert not families
    assert message in families.problems["waves"]
    assert "'acme-odd'" in families.problems["waves"]


@pytest.mark.parametrize(
    "manifest_file", sorted(MODELS.glob("*/*/manifest.json")), ids=lambda path: path.parent.parent.name
)
def test_bundled_models_are_measured_with_the_settings_they_were_trained_with(manifest_file: Path) -> None:
    manifest = read_bundle(manifest_file.parent).manifest
    config = (
        installed_families().named(manifest.training["family"]).config.of_bundle(manifest, manifest.training["data"])
    )
    assert not config.has_own_data
    assert config.data == manifest.training["data"]
    assert config.seed == int(manifest.training["seed"])


def test_an_unknown_family_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'digits'"):
        installed_families().named("digit")


@pytest.mark.parametrize("name", installed_families())
def test_every_recipe_says_what_it_is(name: str) -> None:
    family: Family = installed_families()[name]
    for recipe in recipe_names(family):
        description = describe_recipe(recipe_path(family, recipe))
        assert description.endswith("."), f"{name} {recipe}: {description!r} is no sentence"


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["recipes"], ["train", "--help"], ["data", "--help"]]
    + [["train", name, "--help"] for name in installed_families()],
    ids=" ".join,
)
def test_help_needs_no_torch(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from muserve_export.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'onnx', 'pandas', 'scipy', 'lightning_fabric', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run_command(tmp_path, *arguments, code=code)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_family_and_its_task_from_outside_train_export_and_evaluate(tmp_path: Path) -> None:
    site, run, models = tmp_path / "site", tmp_path / "run", tmp_path / "models"
    site.mkdir()
    install_doubling(site)

    bundle = models / "double" / "1"
    commands = (
        ("train", "doubling", "--device", "cpu", "--out", run),
        ("export", run, "--name", "double", "--out", models),
        ("verify", bundle),
        ("evaluate", bundle),
    )
    # In one process, since each would import torch anew.
    words = json.dumps([[str(word) for word in command] for command in commands])
    code = (
        "import json, sys\nfrom muserve_export.cli import main\nfor words in json.loads(sys.argv[1]):\n    main(words)"
    )
    done = run_command(site, words, code=code)
    assert done.returncode == 0, done.stderr
    assert "its golden requests" in done.stdout
    (row,) = [row for row in done.stdout.splitlines() if "double of one" in row]
    assert float(row.split("|")[2]) == pytest.approx(2.0, abs=1e-3)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["taskName"], manifest["training"]["family"]) == ("echo", "doubling")
    assert manifest["custom"]["@type"].endswith("acme.echo.v1.EchoSettings")
    assert manifest["goldens"][0]["custom"]["values"] == [0.5]
