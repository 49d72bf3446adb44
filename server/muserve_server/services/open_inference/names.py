"""Names: which graph of which model version a call means.

A graph's full name is "<model>.<role>": "music.accompanist". Model names have no dot, so the first one ends the
model's name. Where a version has one graph, the model's name alone means it, too: "digits". Listings give the short
name where there is one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.errors import ModelNotFoundError
from muserve.v1 import manifest_pb2
from muserve_server.interceptors import CallContext
from muserve_server.model import LocalModel
from muserve_server.repository import ModelEntry, Repository
from muserve_server.tasks.requests import refuse

__all__ = ["GraphNames", "ServedGraph", "names_of"]

_MAX_VERSION_DIGITS = 10


@dataclass(frozen=True)
class ServedGraph:
    """A graph that can be run."""

    name: str
    """The name by which it was asked for."""
    model: LocalModel
    """The model version that it belongs to."""
    spec: manifest_pb2.Graph
    """Its tensors."""

    @property
    def version(self) -> str:
        """Version of the model, as the protocol writes it."""
        return str(self.model.bundle.manifest.version)


class GraphNames:
    """Finds graphs by name in the repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    @asynccontextmanager
    async def use(self, name: str, version: str, call: CallContext) -> AsyncIterator[ServedGraph]:
        """Finds a graph and keeps its model loaded while a call uses it.

        Raises:
            InvalidRequestError: The name is empty.
            ModelNotFoundError: No such model, version or graph; says what is there.
            ModelRefusedError: The version was refused.
            UnavailableError: It is still loading.
        """
        model_name, role = _split(name)
        number = _number(version)
        with await self._repository.use(None, model_name, number, deadline=call.deadline) as model:
            call.model = model.bundle.manifest.name
            call.version = str(model.bundle.manifest.version)
            yield ServedGraph(name, model, _find(model.bundle, role))

    def is_ready(self, name: str, version: str) -> bool:
        """Returns whether a graph can be run.

        Raises:
            InvalidRequestError: The name is empty.
            ModelNotFoundError: No such model, version or graph; says what is there.
        """
        model_name, role = _split(name)
        entry = self._repository.find(model_name, _number(version))
        if entry.bundle:
            _find(entry.bundle, role)
        return entry.lease is not None

    def served(self, name: str = "", version: str = "") -> list[ServedGraph]:
        """Returns the graphs that can be run, by name and version.

        Args:
            name: Only those that have this name; all if empty.
            version: Only those of this version; of all versions if empty.
        """
        found = [
            graph
            for entry in self._repository.entries()
            if entry.lease and version in ("", str(entry.version))
            for graph in _graphs(entry.lease.model, name)
        ]
        return sorted(found, key=lambda graph: (graph.name, graph.model.bundle.manifest.version))

    def entries(self) -> list[tuple[str, ModelEntry]]:
        """Returns all graphs of all model versions by name and version, refused ones too."""
        named = [
            (name, entry)
            for entry in self._repository.entries()
            for name in (names_of(entry.bundle) if entry.bundle else [entry.name])
        ]
        return sorted(named, key=lambda item: (item[0], item[1].version))


def names_of(bundle: Bundle) -> list[str]:
    """Returns the names of a bundle's graphs, the short one where there is one."""
    manifest = bundle.manifest
    if len(manifest.graphs) == 1:
        return [manifest.name]
    return [f"{manifest.name}.{graph.role}" for graph in manifest.graphs]


def _graphs(model: LocalModel, name: str) -> Iterator[ServedGraph]:
    manifest = model.bundle.manifest
    for listed, spec in zip(names_of(model.bundle), manifest.graphs, strict=True):
        if name in ("", listed, f"{manifest.name}.{spec.role}"):
            yield ServedGraph(name or listed, model, spec)


def _split(name: str) -> tuple[str, str]:
    model_name, _, role = name.partition(".")
    if not model_name:
        refuse("model_name", "has no model; RepositoryIndex lists the names")
    return model_name, role


def _number(version: str) -> int | None:
    if not version:
        return None
    if not version.isdecimal() or len(version) > _MAX_VERSION_DIGITS or str(int(version)) != version:
        raise ModelNotFoundError(f"version is {version[:50]!r}; versions are whole numbers: '2'")
    return int(version)


def _find(bundle: Bundle, role: str) -> manifest_pb2.Graph:
    graphs = bundle.manifest.graphs
    if not role and len(graphs) == 1:
        return graphs[0]
    for graph in graphs:
        if graph.role == role:
            return graph
    names = ", ".join(names_of(bundle))
    if not role:
        raise ModelNotFoundError(f"model {bundle} has several graphs; name one of them: {names}")
    raise ModelNotFoundError(f"model {bundle} has no graph {role[:50]!r}; its graphs are: {names}")
