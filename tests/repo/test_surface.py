"""`__all__` says what is public: it exists in each module, can be imported, and others take nothing else."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import muserve
import muserve_client
import muserve_export
import muserve_server

GENERATED = ("muserve.inference", "muserve.v1")


def module_names() -> list[str]:
    names = []
    for package in (muserve, muserve_client, muserve_export, muserve_server):
        found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        names += [package.__name__, *(module.name for module in found)]
    return [name for name in names if not name.startswith(GENERATED) and not name.endswith("__main__")]


MODULES = module_names()


def syntax(module: ModuleType) -> ast.Module:
    assert module.__file__ is not None
    return ast.parse(Path(module.__file__).read_text(encoding="utf-8"))


def imported_from_ours(module: ModuleType) -> list[tuple[str, str]]:
    """The (module, name) pairs that a module takes from our own modules."""
    return [
        (node.module, alias.name)
        for node in ast.walk(syntax(module))
        if isinstance(node, ast.ImportFrom) and node.module and node.module in MODULES
        for alias in node.names
    ]


@pytest.mark.parametrize("name", MODULES)
def test_all_can_be_imported(name: str) -> None:
    module = importlib.import_module(name)
    defines = [node for node in syntax(module).body if not isinstance(node, ast.Expr)]
    public = getattr(module, "__all__", None)
    if defines:
        assert public, "it has no __all__"
    assert [missing for missing in public or [] if not hasattr(module, missing)] == []


@pytest.mark.parametrize("name", MODULES)
def test_modules_take_of_each_other_only_what_is_public(name: str) -> None:
    taken = imported_from_ours(importlib.import_module(name))
    private = [
        (source, alias)
        for source, alias in taken
        if alias not in getattr(importlib.import_module(source), "__all__", ()) and f"{source}.{alias}" not in MODULES
    ]
    assert private == []
