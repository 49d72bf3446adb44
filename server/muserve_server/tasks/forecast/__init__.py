"""The forecast task: series in, medians and quantiles out."""

from muserve_server.tasks.forecast.task import ForecastTask

__all__ = ["ForecastTask"]
