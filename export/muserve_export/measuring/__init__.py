"""What every family's evaluation shares: which data to measure against, figures with intervals, details as CSV."""

from muserve_export.measuring.figures import Figures, bootstrap, make_metric

__all__ = ["Figures", "bootstrap", "make_metric"]
