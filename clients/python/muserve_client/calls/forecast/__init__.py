"""Calls for forecasts: series in, medians and quantiles out."""
