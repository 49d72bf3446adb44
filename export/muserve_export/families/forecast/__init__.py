"""The forecast family: an LSTM that continues series, with quantiles."""

from muserve_export.families.family import Family
from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.evaluate import evaluate_forecast
from muserve_export.families.forecast.export import export_forecast
from muserve_export.families.forecast.train import train_forecast

__all__ = ["FAMILY"]

FAMILY = Family("forecast", ForecastConfig, train=train_forecast, export=export_forecast, evaluate=evaluate_forecast)
