"""The forecast task: series in, medians and quantiles out."""
