"""Which version of a model, and which model of a task, answers calls that do not say. It loads nothing.

A default changes in one step: while versions that could take its place are still to be tried, the old one stays, and
where there is none, none is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from muserve.configuration import ConfigurationError, nearest
from muserve_server.repository.entry import ModelEntry
from muserve_server.repository.folders import Key

__all__ = ["Defaults", "listed"]


class Defaults:
    """The defaults of one repository, as its entries and the settings make them."""

    def __init__(
        self, entries: Mapping[Key, ModelEntry], models: Mapping[str, str], versions: Mapping[str, int]
    ) -> None:
        """Stores its parts.

        Args:
            entries: The repository's, as they change.
            models: Default model's name by task kind, as set.
            versions: Default version by model, as set; of other models it is the highest that passes verification.
        """
        self._entries = entries
        self._models = models
        self._versions = versions
        self._by_model: dict[str, ModelEntry] = {}
        self._by_task: dict[str, str] = {}

    def of_model(self, name: str) -> ModelEntry | None:
        """Returns the version that answers calls of a model; None if it has none, or none yet."""
        return self._by_model.get(name)

    def of_task(self, task: str) -> str | None:
        """Returns the model that answers calls of a task; None if it has none, or none yet. It may still be loading."""
        return self._models.get(task) or self._by_task.get(task)

    def candidates(self, name: str) -> list[ModelEntry]:
        """Returns the versions that may become a model's default: the first of them that passes is it."""
        return self._ordered(entry for entry in self._entries.values() if entry.name == name)

    def pinned(self, name: str) -> int | None:
        """Returns the version that is set as a model's default."""
        return self._versions.get(name)

    def is_model_open(self, name: str) -> bool:
        """Returns whether a model has no default yet, but may get one in this scan."""
        return name not in self._by_model and any(entry.pending for entry in self.candidates(name))

    def is_task_open(self, task: str) -> bool:
        """Returns whether a task has no default yet, but may get one in this scan."""
        return self.of_task(task) is None and bool(self._hopeful(task))

    def rival(self, task: str, name: str) -> str | None:
        """Returns the model that stays a task's default beside a newcomer, unless the settings name one."""
        current = self._by_task.get(task)
        if task in self._models or current in (None, name):
            return None
        return current if current in self._staying(task) | self._hopeful(task) else None

    def update(self, *, starting: bool) -> None:
        """Takes over what the entries say now.

        Args:
            starting: Whether a task's default is open as long as two models may serve it; later the first one to serve
                is it.
        """
        versions: dict[str, list[ModelEntry]] = {name: [] for name in self._by_model}
        for entry in self._entries.values():
            versions.setdefault(entry.name, []).append(entry)
        for name, entries in versions.items():
            self._update_model(name, self._ordered(entries))
        tasks = {entry.task for entry in self._entries.values()} | set(self._by_task)
        chosen = {task: self._choose(task, starting=starting) for task in tasks - {""}}
        self._by_task = {task: name for task, name in chosen.items() if name is not None}

    def check_known(self, folders: object) -> None:
        """Proves that what the settings name is there, before any of it is loaded.

        Raises:
            ConfigurationError: It is not.
        """
        for name, version in self._versions.items():
            versions = {entry.version for entry in self._entries.values() if entry.name == name}
            if not versions:
                names = {entry.name for entry in self._entries.values()}
                hint = nearest(name, sorted(names)) if names else "it has no models"
                raise ConfigurationError(f"default_versions has the model {name!r}, which is not in {folders}; {hint}")
            if version not in versions:
                raise ConfigurationError(
                    f"default_versions has version {version} of {name!r}; {folders} has {listed(versions)}"
                )
        for task in self._models:
            names = {entry.name for entry in self._entries.values() if entry.task == task}
            if names:
                self._check_named(task, names, folders)

    def check_settled(self, folders: object) -> None:
        """Proves that the settings can be kept, and that each task that is served has a clear default.

        Raises:
            ConfigurationError: Says which setting decides.
        """
        for name, version in self._versions.items():
            for entry in self.candidates(name):
                if not entry.lease:
                    raise ConfigurationError(
                        f"default_versions has version {version} of {name!r}, which was refused: {entry.reason}"
                    )
        for task in {entry.task for entry in self._by_model.values()}:
            names = self._staying(task)
            if self.of_task(task) is None:
                raise ConfigurationError(
                    f"the {task} models {listed(names)} are all in {folders}; say which answers requests that name "
                    f"none: --default-models {task}={min(names)}"
                )
            self._check_named(task, names, folders)

    def _check_named(self, task: str, names: Collection[str], folders: object) -> None:
        if self.of_task(task) not in names:
            raise ConfigurationError(
                f"default_models names the {task} model {self.of_task(task)!r}; {folders} has {listed(names)}"
            )

    def _ordered(self, entries: Iterable[ModelEntry]) -> list[ModelEntry]:
        return sorted(filter(self._may_lead, entries), key=lambda entry: entry.version, reverse=True)

    def _may_lead(self, entry: ModelEntry) -> bool:
        return not entry.removed and self._versions.get(entry.name, entry.version) == entry.version

    def _update_model(self, name: str, candidates: Iterable[ModelEntry]) -> None:
        for entry in candidates:
            if entry.pending:
                break
            if entry.lease:
                self._by_model[name] = entry
                return
        else:
            current = self._by_model.get(name)
            if current and not current.lease:  # a removed one stays until it is retired
                del self._by_model[name]

    def _choose(self, task: str, *, starting: bool) -> str | None:
        current = self._by_task.get(task)
        staying, hopeful = self._staying(task), self._hopeful(task)
        if current in staying | hopeful:
            return current
        names = staying if staying and not starting else staying | hopeful
        leaving = current if current in self._by_model else None
        if len(names) != 1 or (leaving and not staying):
            return leaving
        return next(iter(names))

    def _staying(self, task: str) -> set[str]:
        """Returns the models that serve a task and go on doing so."""
        return {name for name, entry in self._by_model.items() if entry.task == task and not entry.removed}

    def _hopeful(self, task: str) -> set[str]:
        """Returns the models that may serve a task before long, and that nothing serves that stays."""
        return {
            entry.name
            for entry in self._entries.values()
            if entry.pending and entry.task == task and self._may_lead(entry) and not self._stays(entry.name)
        }

    def _stays(self, name: str) -> bool:
        entry = self._by_model.get(name)
        return entry is not None and not entry.removed


def listed(names: Iterable[object]) -> str:
    """Returns names for a message: "circles, squares"."""
    return ", ".join(str(name) for name in sorted(names, key=str)) or "nothing"
