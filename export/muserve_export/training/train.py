"""The head of `muserve-export train`, for every family: settings, run folder, data, learner, loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muserve.configuration import build, read_toml
from muserve_export.errors import RunError
from muserve_export.families import DEFAULT_RECIPE, Family, recipe_path
from muserve_export.training.loop import BeginsAnew, init_weights, make_fabric, train
from muserve_export.training.run import RunFolder

__all__ = ["train_family"]


def train_family(
    family: Family,
    values: Mapping[str, Any],
    *,
    recipe: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    init_from: Path | None = None,
) -> RunFolder | None:
    """Trains, or goes on with a run.

    Args:
        family: What to train.
        values: Settings that win over the recipe's.
        recipe: A recipe of the family, or a path to one; None takes "tutorial", or what a resumed run was begun with.
        out: Folder of the run; None takes runs/<family>-<recipe>.
        resume: Whether to go on with the run in `out` from its last checkpoint.
        init_from: A checkpoint or run folder to take the first weights from.

    Returns:
        The run; None on all processes but the first.

    Raises:
        ConfigurationError: A setting or the recipe cannot be used.
        ExportError: The data, the checkpoint, the run folder or the losses cannot; says why.
    """
    if resume and init_from:
        raise RunError("--resume and --init-from exclude each other: a resumed run has its own weights")
    named = recipe or DEFAULT_RECIPE
    run = RunFolder(out or Path("runs") / f"{family.name}-{Path(named).stem}")
    # A resumed run has its own values; what is named again must agree, or be one that may change.
    base = run.values() if resume else {}
    layer = read_toml(recipe_path(family, named)) if recipe or not resume else {}
    config = build(family.config, base, layer, values)
    if init_from:
        config.check_init_from()
    fabric = make_fabric(config)
    if fabric.is_global_zero:
        if resume:
            run.resume(family.name, config)
        else:
            run.begin(family.name, Path(named).stem, config)
    fabric.barrier()
    data = family.load_data(config)
    learner, items = family.learner(fabric, config, data)
    if init_from is not None:
        init_weights(learner, init_from)
        if isinstance(learner, BeginsAnew):
            learner.begin_anew()
    train(fabric, family.name, learner, items, config, run, data_sha256=data.sha256)
    return run if fabric.is_global_zero else None
