"""How tests open bundles: limits by their own names, and tasks in place of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from muserve.bundle import Bundle
from muserve.configuration import options_of
from muserve_server.model import LocalOptions
from muserve_server.settings import Settings
from muserve_server.tasks import Kinds, Task, installed_kinds
from muserve_server.tasks.forecast.limits import ForecastLimits
from muserve_server.tasks.music.limits import MusicLimits

__all__ = ["every_option", "kinds_with", "local_options", "short_answers"]

OpenTask = Callable[[Bundle, Any], Task]


def local_options(*, kinds: Kinds | None = None, **values: Any) -> LocalOptions:
    """Options of `LocalOptions` and limits of all kinds that have them, each by its own name."""
    own = {name: value for name, value in values.items() if name in LocalOptions.__dataclass_fields__}
    kinds = installed_kinds() if kinds is None else kinds
    limits = kinds.limits(**{name: value for name, value in values.items() if name not in own})
    return LocalOptions(kinds=kinds, limits=limits, **own)


def kinds_with(**tasks: OpenTask) -> Kinds:
    """The installed kinds, some with another task."""
    kinds = installed_kinds()
    for name, open_task in tasks.items():
        kinds = kinds.with_kind(replace(kinds[name], open=open_task))
    return kinds


def short_answers(values: int, **limits: Any) -> dict[str, Any]:
    """Limits of forecasts and music whose answers have room for so many numbers of 64 bits: less than a message may."""

    @dataclass(frozen=True)
    class ShortForecasts(ForecastLimits):
        max_answer_values = values

    @dataclass(frozen=True)
    class ShortMusic(MusicLimits):
        max_answer_bytes = values * 8

    return {"forecast": ShortForecasts(**limits), "music": ShortMusic(**limits)}


def every_option() -> list[tuple[str, Any, Any]]:
    """The server's own settings and the limits of all kinds."""
    kinds = installed_kinds().values()
    return [*options_of(Settings), *(option for kind in kinds for option in options_of(kind.limits))]
