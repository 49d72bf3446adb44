"""Keeps what is served in step with the models folder.

A new version is loaded and warmed up beside what serves, then published in one step. One that fails is refused with the
reason, and what served goes on serving. A removed one finishes what it has. A half-copied bundle is refused too, and
tried again when its files change.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muserve.bundle import MANIFEST_FILE, Bundle, BundleError, ManifestError, read_bundle, verify_files
from muserve.configuration import ConfigurationError
from muserve.errors import ModelNotFoundError, ModelRefusedError, UnavailableError
from muserve.v1 import model_pb2
from muserve_server.model import LocalModel
from muserve_server.tasks import Kinds

__all__ = ["ModelEntry", "Repository"]

logger = logging.getLogger(__name__)

Signature = tuple[tuple[str, int, int], ...]
Found = dict[tuple[str, int], tuple[Path, Signature]]

_MAX_VERSION = 2**32 - 1


class _SecondModelError(ManifestError):
    """The bundle is sound, but its task has a model already, and no setting says which is the default."""


class Lease:
    """A served model and the calls that are using it: each enters the lease while it runs."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self.calls = 0
        self.unused = asyncio.Event()
        self.unused.set()

    def __enter__(self) -> LocalModel:
        self.calls += 1
        self.unused.clear()
        return self.model

    def __exit__(self, *_: object) -> None:
        self.calls -= 1
        if not self.calls:
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
    """Names, sizes and times of its files when it was last tried; empty to try it again."""
    waits: bool = False
    """Whether it was refused only because of another model, and may serve once that one is gone."""
    lease: Lease | None = None
    """What it serves."""


class Repository:
    """The models of one server. Lives on one event loop."""

    def __init__(
        self,
        folders: Sequence[Path],
        load: Callable[[Path], Awaitable[LocalModel]],
        default_models: Mapping[str, str],
        *,
        kinds: Kinds,
        on_change: Callable[[], None],
    ) -> None:
        """Stores its parts; `scan` does the work.

        Args:
            folders: Each holds <name>/<version>/manifest.json. Where two hold the same, the first one counts.
            load: Opens and warms up a bundle; raises BundleError.
            default_models: Default model's name by task kind, where a kind may have several.
            kinds: The task kinds that are served.
            on_change: Called after models began or ceased to serve.
        """
        self._folders = folders
        self._kinds = kinds
        self._load = load
        self._default_models = default_models
        self._on_change = on_change
        self._entries: dict[tuple[str, int], ModelEntry] = {}
        self._retiring: dict[asyncio.Task[None], LocalModel] = {}
        self._leases: dict[tuple[str, str, int | None], Lease] = {}  # what requests asked for, until models change
        self._hidden: set[Path] = set()
        self._scanned = False

    def entries(self) -> list[ModelEntry]:
        """Returns all entries by name and version."""
        return [self._entries[key] for key in sorted(self._entries)]

    def default_name(self, task: str) -> str | None:
        """Returns the model that answers requests of a task kind that name none, or None if there is none."""
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
            found = await asyncio.to_thread(self._find_all)
        except OSError as error:
            raise ConfigurationError(
                f"models is {error.filename}, which cannot be read ({error.strerror}); set it to a folder of bundles, "
                "or install those that come with Muserve: pip install muserve-models"
            ) from error
        changed = False
        for key in [key for key in self._entries if key not in found]:
            entry = self._entries.pop(key)
            self._retire(entry.lease)
            self._leases.clear()
            changed = True
            for other in self._entries.values():
                if other.waits:
                    other.signature = ()
            logger.info("model removed", extra={"model": entry.name, "version": entry.version})
        for name, version in found:  # all of them first, so that none is unknown while another loads
            self._entries.setdefault((name, version), ModelEntry(name, version, model_pb2.MODEL_STATE_LOADING))
        for key, (path, signature) in sorted(found.items()):
            entry = self._entries[key]
            if entry.signature != signature:
                entry.signature = signature
                await self._try(entry, path, starting=starting)
                changed = True
        if starting:
            self._check_defaults()
        self._scanned = True
        if changed or starting:
            self._on_change()

    async def use(self, task: str, name: str, version: int | None, *, deadline: float = math.inf) -> Lease:  # noqa: ARG002
        """Finds the model for a request; `with` the lease, it stays loaded while the request runs.

        Args:
            task: Name of the task kind.
            name: Name of the model; empty for the task's default.
            version: Its version; None for the model's default.
            deadline: The request's, on the clock of `time.monotonic`.

        Raises:
            ModelNotFoundError: No such model or version; says what is there.
            ModelRefusedError: The asked version is there, but was refused.
            UnavailableError: It is still loading.
        """
        key = (task, name, version)
        lease = self._leases.get(key)
        if lease is None:
            lease = self._find_lease(task, name or self.default_name(task), version)
            self._leases[key] = lease
        return lease

    def find(self, name: str, version: int | None) -> ModelEntry:
        """Finds an entry by name and version; without a version the newest that serves.

        Raises:
            ModelNotFoundError: There is none; says what is there.
            UnavailableError: It is not yet known what is there.
        """
        if not self._scanned and not self._entries:
            raise UnavailableError("the server looks for its models; try again")
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
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for model in (*retiring.values(), *(entry.lease.model for entry in self._entries.values() if entry.lease)):
            await model.close()

    def _find_all(self) -> Found:
        found: Found = {}
        for folder in self._folders:
            for key, (path, signature) in _find(folder).items():
                first, _ = found.setdefault(key, (path, signature))
                if first != path and path not in self._hidden:
                    self._hidden.add(path)
                    extra = {"path": str(path), "first": str(first)}
                    logger.warning("bundle passed over: another has its name and version", extra=extra)
        return found

    def _serving(self) -> list[ModelEntry]:
        return [entry for entry in self._entries.values() if entry.lease]

    def _find_lease(self, task: str, name: str | None, version: int | None) -> Lease:
        if name is None:
            if not self._scanned:
                raise UnavailableError("the server loads its models; try again")
            names = {entry.name for entry in self._entries.values() if _task(entry) == task}
            raise ModelNotFoundError(f"no {task} model serves here; in the repository: {_listed(names)}")
        entry = self.find(name, version)
        if _task(entry) not in (task, ""):
            names = {entry.name for entry in self._serving() if _task(entry) == task}
            raise ModelNotFoundError(f"model {name!r} is not a model of the task {task}; available: {_listed(names)}")
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
            bundle = await asyncio.to_thread(read_bundle, path, import_protos=self._kinds.named)
            entry.bundle = entry.bundle if entry.lease else bundle
            if entry.lease and entry.lease.model.bundle.digest == bundle.digest:
                await asyncio.to_thread(verify_files, bundle)  # what serves is in memory, but a restart would need them
                entry.reason = ""
                return
            self._check_place(entry, bundle, starting=starting)
            model = await self._load(path)
            if model.bundle.digest != bundle.digest:
                raise ManifestError(f"{bundle}: {MANIFEST_FILE} changed while it was loading; it is tried again")
        except Exception as error:  # a bundle may break what it meets, but never what serves
            if model:
                await model.close()
            entry.reason = str(error) if isinstance(error, BundleError | OSError) else repr(error)
            entry.waits = isinstance(error, _SecondModelError)
            if not entry.lease:
                entry.state = model_pb2.MODEL_STATE_REFUSED
            logger.warning(
                "bundle refused",
                extra=extra | {"reason": entry.reason, "still_serving": bool(entry.lease)},
                exc_info=None if isinstance(error, BundleError | OSError) else error,
            )
            return
        self._retire(entry.lease)
        self._leases.clear()
        entry.lease, entry.bundle, entry.reason, entry.waits = Lease(model), model.bundle, "", False
        entry.state = model_pb2.MODEL_STATE_READY
        logger.info("model ready", extra=extra | {"digest": model.bundle.digest})

    def _check_place(self, entry: ModelEntry, bundle: Bundle, *, starting: bool) -> None:
        manifest = bundle.manifest
        if (manifest.name, manifest.version) != (entry.name, entry.version):
            raise ManifestError(
                f"the folder is {entry.name}/{entry.version}, but its manifest says {bundle}; "
                "put the bundle into the folder of its own name and version"
            )
        task = bundle.task
        other = self.default_name(task)
        if not starting and other not in (None, manifest.name) and task not in self._default_models:
            raise _SecondModelError(
                f"{bundle} is a second {task} model beside {other!r}, and no setting says which is the default; "
                f"start the server with --default-models {task}={other}"
            )

    def _check_defaults(self) -> None:
        for task in {_task(entry) for entry in self._serving()}:
            names = {entry.name for entry in self._serving() if _task(entry) == task}
            folders = " and ".join(map(str, self._folders))
            if self.default_name(task) is None:
                raise ConfigurationError(
                    f"the {task} models {_listed(names)} are all in {folders}; say which answers requests that name "
                    f"none: --default-models {task}={min(names)}"
                )
            if self.default_name(task) not in names:
                raise ConfigurationError(
                    f"default_models names the {task} model {self.default_name(task)!r}; {folders} has {_listed(names)}"
                )

    def _retire(self, lease: Lease | None) -> None:
        """Closes a model once its last call has ended."""
        if lease:
            task = asyncio.create_task(_close_when_unused(lease))
            self._retiring[task] = lease.model
            task.add_done_callback(lambda done: self._retiring.pop(done, None))


async def _close_when_unused(lease: Lease) -> None:
    await lease.unused.wait()
    await lease.model.close()


def _task(entry: ModelEntry) -> str:
    return entry.bundle.task if entry.bundle else ""


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in sorted(names, key=str)) or "nothing"


def _find(folder: Path) -> Found:
    """Lists <name>/<version> folders with the signatures of their files. Hidden folders are copies in the making."""
    found: Found = {}
    for name in folder.iterdir():
        if name.name.startswith(".") or not name.name.isprintable() or not name.is_dir():
            continue
        try:
            versions = list(name.iterdir())
        except FileNotFoundError:
            continue  # being removed; the next look sees it gone
        for path in versions:
            version = int(path.name) if path.name.isdecimal() else -1
            if str(version) == path.name and 0 <= version <= _MAX_VERSION and path.is_dir():
                found[name.name, version] = (path, _signature(path))
    return found


def _signature(folder: Path) -> Signature:
    rows = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:  # being removed, or a link to nowhere; verification says what is missing
            continue
        rows.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return (("", 0, 0), *rows)
