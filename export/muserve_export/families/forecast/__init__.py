"""The forecast family: LSTMs that continue time series, one for all frequencies, or the tutorial's for one curve."""

from muserve_export.families.family import FamilyPackage
from muserve_export.families.forecast.config import ForecastConfig

__all__ = ["FAMILY"]

FAMILY = FamilyPackage(
    "forecast",
    "an LSTM that continues time series, with quantiles",
    ForecastConfig,
    __name__,
    baselines={"next_value": "muserve_export.families.forecast_tutorial"},
)
