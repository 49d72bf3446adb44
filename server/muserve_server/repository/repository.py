"""Keeps what is served in step with the models folders.

A new version is loaded and warmed up beside what serves, then published in one step. One that fails is refused with the
reason, and what served goes on serving. A removed one finishes what it has. A half-copied bundle is refused too, and
tried again when its files change.

All manifests are read before anything is loaded, and of each model the version comes first that is to be its default:
until it is known, calls wait for it rather than being answered by another.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from muserve.bundle import MANIFEST_FILE, Bundle, BundleError, ManifestError, read_bundle, verify_files
from muserve.errors import ModelNotFoundError, ModelRefusedError
from muserve_server.model import LocalModel
from muserve_server.repository.defaults import Defaults, listed
from muserve_server.repository.entry import Lease, ModelEntry
from muserve_server.repository.folders import Found, Key, ModelFolders
from muserve_server.repository.waiting import StillLoadingError, WaitingCalls
from muserve_server.tasks import Kinds

__all__ = ["Repository"]

logger = logging.getLogger(__name__)


class _SecondModelError(ManifestError):
    """The bundle is sound, but its task has a model already, and no setting says which is the default."""


class Repository:
    """The models of one server. Lives on one event loop."""

    def __init__(
        self,
        folders: Sequence[Path],
        load: Callable[[Path], Awaitable[LocalModel]],
        default_models: Mapping[str, str],
        default_versions: Mapping[str, int],
        *,
        kinds: Kinds,
        on_change: Callable[[], None],
        max_waiting_calls: int = 1024,
    ) -> None:
        """Stores its parts; `scan` does the work.

        Args:
            folders: Each holds <name>/<version>/manifest.json. Where two hold the same, the first one counts.
            load: Opens and warms up a bundle; raises BundleError.
            default_models: Default model's name by task kind, where a kind may have several.
            default_versions: Default version by model, where it is not the highest that passes verification.
            kinds: The task kinds that are served.
            on_change: Called after models began or ceased to serve, and at the end of the first scan.
            max_waiting_calls: How many calls may wait for models that are loading.
        """
        self._folders = ModelFolders(folders)
        self._kinds = kinds
        self._load = load
        self._on_change = on_change
        self._entries: dict[Key, ModelEntry] = {}
        self._defaults = Defaults(self._entries, default_models, default_versions)
        self._waiting = WaitingCalls(max_waiting_calls)
        self._retiring: dict[asyncio.Task[None], LocalModel] = {}
        self._leases: dict[
            tuple[str | None, str, int | None], Lease
        ] = {}  # what requests asked for, until models change
        self._listed = False
        self._scanned = False

    @property
    def scanned(self) -> bool:
        """Whether the first scan is finished: every model that was there is loaded or refused."""
        return self._scanned

    def entries(self) -> list[ModelEntry]:
        """Returns all entries by name and version."""
        return [self._entries[key] for key in sorted(self._entries)]

    def default_version(self, name: str) -> ModelEntry | None:
        """Returns what answers requests of a model that name no version; None if nothing does, or nothing yet."""
        return self._defaults.of_model(name)

    def default_model(self, task: str) -> ModelEntry | None:
        """Returns what answers requests of a task that name no model; None if nothing does, or nothing yet."""
        entry = self._defaults.of_model(self._defaults.of_task(task) or "")
        return entry if entry and entry.task == task else None

    async def scan(self, *, starting: bool = False) -> None:
        """Brings what is served in step with the folders.

        Args:
            starting: Whether contradictions of folder and settings are errors; later they only refuse the newcomer.

        Raises:
            ConfigurationError: A folder cannot be read; or, when starting, a set default is not there, or a task has no
                clear default model.
        """
        found = await asyncio.to_thread(self._folders.find)
        changed = await self._take_over(found)
        if starting:
            self._defaults.check_known(self._folders)
        changed = changed or not self._scanned
        if changed:
            self._publish(starting=starting)
        for name in self._names():
            for entry in self._defaults.candidates(name):
                await self._try_pending(entry, found, starting=starting)
                if entry.lease:
                    break
        if starting:
            self._defaults.check_settled(self._folders)
        self._retire_removed()  # only now, so that no third version answers before what takes their place is ready
        for key in sorted(found, reverse=True):
            await self._try_pending(self._entries[key], found, starting=starting)
        self._scanned = True
        if changed:
            self._publish(starting=False)

    async def use(self, task: str | None, name: str, version: int | None, *, deadline: float = math.inf) -> Lease:
        """Finds the model for a request; `with` the lease, it stays loaded while the request runs.

        While it is not settled yet what answers, the request waits.

        Args:
            task: Name of the task kind; None for a model of any.
            name: Name of the model; empty for the task's default.
            version: Its version; None for the model's default.
            deadline: The request's, on the clock of `time.monotonic`.

        Raises:
            ModelNotFoundError: No such model or version; says what is there.
            ModelRefusedError: The asked version is there, but was refused.
            UnavailableError: It is still loading, and the request cannot wait any longer.
        """
        key = (task, name, version)
        lease = self._leases.get(key)
        if lease is None:
            lease = await self._waiting.until_found(lambda: self._find_lease(task, name, version), deadline)
            self._leases[key] = lease
        return lease

    def find(self, name: str, version: int | None) -> ModelEntry:
        """Finds an entry by name and version; without a version the default or, if there is none, what may become it.

        Raises:
            ModelNotFoundError: There is none; says what is there.
            UnavailableError: It is not yet known what is there.
        """
        if not self._listed:
            raise StillLoadingError("the server looks for its models")
        versions = [number for other, number in self._entries if other == name]
        if not versions:
            names = {entry.name for entry in self._entries.values()}
            raise ModelNotFoundError(f"model is {name!r}; this server has {listed(names)}")
        if version is None:
            entry = self._defaults.of_model(name) or next(iter(self._defaults.candidates(name)), None)
            version = self._defaults.pinned(name)
        else:
            entry = self._entries.get((name, version))
        if entry is None:
            raise ModelNotFoundError(f"version is {version}; model {name!r} has the versions {listed(versions)}")
        return entry

    def stop_loading(self) -> None:
        """Ends the calls that wait for a model, and lets none wait any more: no scan follows. The others go on."""
        self._waiting.close()

    async def close(self) -> None:
        """Unloads every model. Calls that still run fail."""
        self.stop_loading()
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        for model in (*retiring.values(), *(entry.lease.model for entry in self._entries.values() if entry.lease)):
            await model.close()

    def _find_lease(self, task: str | None, name: str, version: int | None) -> Lease:
        if not self._listed:
            raise StillLoadingError("the server looks for its models")
        if task and not name:
            name = self._default_name(task)
        entry = self.find(name, version)
        if task and entry.task not in (task, ""):
            names = {entry.name for entry in self._entries.values() if entry.lease and entry.task == task}
            raise ModelNotFoundError(f"model {name!r} is not a model of the task {task}; available: {listed(names)}")
        if entry.lease:
            return entry.lease
        if entry.pending or (version is None and self._defaults.is_model_open(name)):
            raise StillLoadingError(f"model {entry} is loading")
        raise ModelRefusedError(f"model {entry} was refused: {entry.reason}")

    def _default_name(self, task: str) -> str:
        name = self._defaults.of_task(task)
        if name is not None:
            return name
        if self._defaults.is_task_open(task):
            raise StillLoadingError(f"the {task} models are loading")
        names = {entry.name for entry in self._entries.values() if entry.task == task}
        raise ModelNotFoundError(f"no {task} model serves here; in the repository: {listed(names)}")

    async def _take_over(self, found: Found) -> bool:
        """Marks what is gone and what is to be tried, and reads the manifests of the latter; whether there is any."""
        for key, entry in self._entries.items():
            entry.removed = key not in found
        removed = any(entry.removed for entry in self._entries.values())
        for entry in self._entries.values() if removed else ():
            if entry.waits:
                entry.signature = ()
        entries = {key: self._entries.get(key) or ModelEntry(*key) for key in found}
        changed = [key for key, entry in entries.items() if entry.signature != found[key][1]]
        read = await asyncio.to_thread(lambda: {key: self._read(found[key][0]) for key in changed})
        # In one step, so that no call sees a model of which not all is known.
        for key, bundle in read.items():
            entry = entries[key]
            entry.pending = True
            if entry.lease is None:
                entry.bundle = bundle
        self._entries.update(entries)
        self._listed = True
        return removed or bool(changed)

    def _read(self, path: Path) -> Bundle | None:
        try:
            return read_bundle(path, import_protos=self._kinds.named)
        except Exception:  # noqa: BLE001 - it is told when the bundle is tried
            return None

    def _names(self) -> list[str]:
        """Returns the models' names, those that serve first: a task's second model is one that comes beside them."""
        names = {entry.name for entry in self._entries.values()}
        return sorted(names, key=lambda name: (self._defaults.of_model(name) is None, name))

    async def _try_pending(self, entry: ModelEntry, found: Found, *, starting: bool) -> None:
        if not entry.pending:
            return
        path, signature = found[entry.name, entry.version]
        await self._try(entry, path, starting=starting)
        entry.pending, entry.signature = False, signature
        self._publish(starting=starting)

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
            logger.warning(
                "bundle refused",
                extra=extra | {"reason": entry.reason, "still_serving": bool(entry.lease)},
                exc_info=None if isinstance(error, BundleError | OSError) else error,
            )
            return
        self._retire(entry.lease)
        entry.lease, entry.bundle, entry.reason, entry.waits = Lease(model), model.bundle, "", False
        logger.info("model ready", extra=extra | {"digest": model.bundle.digest})

    def _check_place(self, entry: ModelEntry, bundle: Bundle, *, starting: bool) -> None:
        manifest = bundle.manifest
        if (manifest.name, manifest.version) != (entry.name, entry.version):
            raise ManifestError(
                f"the folder is {entry}, but its manifest says {bundle}; "
                "put the bundle into the folder of its own name and version"
            )
        other = self._defaults.rival(bundle.task, entry.name)
        if not starting and other is not None:
            raise _SecondModelError(
                f"{bundle} is a second {bundle.task} model beside {other!r}, and no setting says which is the default; "
                f"start the server with --default-models {bundle.task}={other}"
            )

    def _publish(self, *, starting: bool) -> None:
        """Makes calls, waiting ones too, see what the entries say now."""
        self._leases.clear()
        self._defaults.update(starting=starting)
        self._waiting.wake()
        self._on_change()

    def _retire_removed(self) -> None:
        removed = [key for key, entry in self._entries.items() if entry.removed]
        for key in removed:
            entry = self._entries.pop(key)
            self._retire(entry.lease)
            entry.lease = None
            logger.info("model removed", extra={"model": entry.name, "version": entry.version})
        if removed:
            self._publish(starting=False)

    def _retire(self, lease: Lease | None) -> None:
        """Closes a model once its last call has ended."""
        if lease:
            task = asyncio.create_task(lease.close_when_unused())
            self._retiring[task] = lease.model
            task.add_done_callback(lambda done: self._retiring.pop(done, None))
