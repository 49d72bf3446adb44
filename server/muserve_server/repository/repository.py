"""Keeps what is served in step with the models folder.

A new version is loaded and warmed up beside what serves, then published in one step. One that fails is refused with the
reason, and what served goes on serving. A removed one finishes what it has. A half-copied bundle is refused too, and
tried again when its files change.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from muserve.bundle import MANIFEST_FILE, Bundle, BundleError, ManifestError, read_bundle
from muserve.configuration import ConfigurationError
from muserve.errors import ModelNotFoundError, ModelRefusedError, UnavailableError
from muserve.v1 import common_pb2, model_pb2
from muserve_server.local import LocalModel

__all__ = ["ModelEntry", "Repository"]

logger = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int], ...]


class _Lease:
    """A served model and the calls that are using it."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.calls = 0
        self.unused = asyncio.Event()
        self.unused.set()


@dataclass
class ModelEntry:
    """One folder <name>/<version> of the repository."""

    name: str
    """Name of the folder, which the manifest must repeat."""
    version: int
    """Version of the folder, which the manifest must repeat."""
    state: model_pb2.ModelState
    """Whether it answers."""
    reason: str = ""
    """Why the files that are there now were refused."""
    bundle: Bundle | None = None
    """What it serves or, if it serves nothing, what could be read of it."""
    signature: Signature = ()
    """Names, sizes and times of its files when it was last tried."""
    lease: _Lease | None = None
    """What it serves."""


class Repository:
    """The models of one server. Lives on one event loop."""

    def __init__(
        self,
        folder: Path,
        load: Callable[[Path], Awaitable[LocalModel]],
        default_models: Mapping[int, str],
        *,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        """Stores its parts; `scan` does the work.

        Args:
            folder: Holds <name>/<version>/manifest.json.
            load: Opens and warms up a bundle; raises BundleError.
            default_models: Default model's name by task, where a task may have several.
            on_change: Awaited after models began or ceased to serve.
        """
        self._folder = folder
        self._load = load
        self._default_models = default_models
        self._on_change = on_change
        self._entries: dict[tuple[str, int], ModelEntry] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    def entries(self) -> list[ModelEntry]:
        """Returns all entries by name and version."""
        return [self._entries[key] for key in sorted(self._entries)]

    def default_name(self, task: int) -> str | None:
        """Returns the model that answers requests of a task without a name, or None if there is none."""
        if task in self._default_models:
            return self._default_models[task]
        names = {entry.name for entry in self._serving() if _task(entry) == task}
        return names.pop() if len(names) == 1 else None

    async def scan(self, *, starting: bool = False) -> None:
        """Brings what is served in step with the folder.

        Args:
            starting: Whether contradictions of folder and settings are errors; later they only refuse the newcomer.

        Raises:
            ConfigurationError: The folder cannot be read; or, when starting, a task has no clear default model.
        """
        try:
            found = await asyncio.to_thread(_find, self._folder)
        except OSError as error:
            raise ConfigurationError(f"models is {self._folder}, which cannot be read ({error.strerror})") from error
        changed = False
        for key in [key for key in self._entries if key not in found]:
            entry = self._entries.pop(key)
            self._retire(entry.lease)
            changed = True
            logger.info("model removed", extra={"model": entry.name, "version": entry.version})
        for (name, version), (path, signature) in sorted(found.items()):
            entry = self._entries.setdefault((name, version), ModelEntry(name, version, model_pb2.MODEL_STATE_LOADING))
            if entry.signature != signature:
                entry.signature = signature
                await self._try(entry, path, starting=starting)
                changed = True
        if starting:
            self._check_defaults()
        if changed:
            await self._on_change()

    @asynccontextmanager
    async def use(self, task: int, name: str, version: int | None) -> AsyncIterator[LocalModel]:
        """Finds the model for a request and keeps it loaded while the request runs.

        Raises:
            ModelNotFoundError: No such model or version; says what is there.
            ModelRefusedError: The asked version is there, but was refused.
            UnavailableError: It is still loading.
        """
        lease = self._find_lease(task, name or self.default_name(task), version)
        lease.calls += 1
        lease.unused.clear()
        try:
            yield lease.model
        finally:
            lease.calls -= 1
            if not lease.calls:
                lease.unused.set()

    def find(self, name: str, version: int | None) -> ModelEntry:
        """Finds an entry by name and version; without a version the newest that serves.

        Raises:
            ModelNotFoundError: There is none; says what is there.
        """
        versions = {entry.version: entry for entry in self.entries() if entry.name == name}
        if not versions:
            raise ModelNotFoundError(f"model is {name!r}; this server has {_listed({e.name for e in self.entries()})}")
        if version is None:
            serving = [number for number, entry in versions.items() if entry.lease]
            return versions[max(serving or versions)]
        if version not in versions:
            raise ModelNotFoundError(f"version is {version}; model {name!r} has the versions {_listed(versions)}")
        return versions[version]

    async def close(self) -> None:
        """Unloads every model. Calls that still run fail."""
        for entry in self._entries.values():
            if entry.lease:
                await entry.lease.model.close()
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)

    def _serving(self) -> list[ModelEntry]:
        return [entry for entry in self._entries.values() if entry.lease]

    def _find_lease(self, task: int, name: str | None, version: int | None) -> _Lease:
        label = common_pb2.Task.Name(task).removeprefix("TASK_").lower()
        if name is None:
            names = {entry.name for entry in self._entries.values() if _task(entry) == task}
            raise ModelNotFoundError(f"no {label} model serves here; in the repository: {_listed(names)}")
        entry = self.find(name, version)
        if _task(entry) not in (task, common_pb2.TASK_UNSPECIFIED):
            names = {entry.name for entry in self._serving() if _task(entry) == task}
            raise ModelNotFoundError(f"model {name!r} does not serve {label}s; for that there is {_listed(names)}")
        if entry.lease:
            return entry.lease
        if entry.state == model_pb2.MODEL_STATE_REFUSED:
            raise ModelRefusedError(f"model {entry.name}/{entry.version} was refused: {entry.reason}")
        raise UnavailableError(f"model {entry.name}/{entry.version} is loading; try again")

    async def _try(self, entry: ModelEntry, path: Path, *, starting: bool) -> None:
        """Loads what the entry's folder holds now; on failure what it served goes on serving."""
        extra = {"model": entry.name, "version": entry.version}
        model: LocalModel | None = None
        try:
            bundle = await asyncio.to_thread(read_bundle, path)
            entry.bundle = entry.bundle if entry.lease else bundle
            if entry.lease and entry.lease.model.bundle.digest == bundle.digest:
                entry.reason = ""
                return
            self._check_place(entry, bundle, starting=starting)
            model = await self._load(path)
            if model.bundle.digest != bundle.digest:
                raise ManifestError(f"{bundle}: {MANIFEST_FILE} changed while it was loading; it is tried again")
        except (BundleError, OSError) as error:
            if model:
                await model.close()
            entry.reason = str(error)
            if not entry.lease:
                entry.state = model_pb2.MODEL_STATE_REFUSED
            still_serving = bool(entry.lease)
            logger.warning("bundle refused", extra=extra | {"reason": entry.reason, "still_serving": still_serving})
            return
        self._retire(entry.lease)
        entry.lease, entry.bundle, entry.reason = _Lease(model), model.bundle, ""
        entry.state = model_pb2.MODEL_STATE_READY
        logger.info("model ready", extra=extra | {"digest": model.bundle.digest})

    def _check_place(self, entry: ModelEntry, bundle: Bundle, *, starting: bool) -> None:
        manifest = bundle.manifest
        if (manifest.name, manifest.version) != (entry.name, entry.version):
            raise ManifestError(
                f"the folder is {entry.name}/{entry.version}, but its manifest says {bundle}; "
                "put the bundle into the folder of its own name and version"
            )
        other = self.default_name(manifest.task)
        if not starting and other not in (None, manifest.name) and manifest.task not in self._default_models:
            task = common_pb2.Task.Name(manifest.task).removeprefix("TASK_").lower()
            raise ManifestError(
                f"{bundle} is a second {task} model beside {other!r}, and no setting says which is the default; "
                f"start the server with --default-models {task}={other}"
            )

    def _check_defaults(self) -> None:
        for task in {_task(entry) for entry in self._serving()}:
            label = common_pb2.Task.Name(task).removeprefix("TASK_").lower()
            names = {entry.name for entry in self._serving() if _task(entry) == task}
            if self.default_name(task) is None:
                raise ConfigurationError(
                    f"the {label} models {_listed(names)} are all in {self._folder}; say which answers requests "
                    f"without a name: --default-models {label}={min(names)}"
                )
            if self.default_name(task) not in names:
                raise ConfigurationError(
                    f"default_models names the {label} model {self.default_name(task)!r}; "
                    f"{self._folder} has {_listed(names)}"
                )

    def _retire(self, lease: _Lease | None) -> None:
        """Closes a model once its last call has ended."""
        if lease:
            task = asyncio.create_task(_close_when_unused(lease))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)


async def _close_when_unused(lease: _Lease) -> None:
    try:
        await lease.unused.wait()
    finally:
        await lease.model.close()


def _task(entry: ModelEntry) -> int:
    return entry.bundle.manifest.task if entry.bundle else common_pb2.TASK_UNSPECIFIED


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in sorted(names, key=str)) or "nothing"


def _find(folder: Path) -> dict[tuple[str, int], tuple[Path, Signature]]:
    """Lists <name>/<version> folders with the signatures of their files. Hidden folders are copies in the making."""
    found = {}
    for name in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for version in name.iterdir():
            if version.is_dir() and version.name.isdecimal() and str(int(version.name)) == version.name:
                found[name.name, int(version.name)] = (version, _signature(version))
    return found


def _signature(folder: Path) -> Signature:
    rows = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # being removed; the next look sees it gone
        rows.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return tuple(rows)
