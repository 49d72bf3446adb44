"""The digits family: a GAN on small images with classes."""

from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.evaluate import evaluate_digits
from muserve_export.families.digits.export import export_digits
from muserve_export.families.digits.train import train_digits
from muserve_export.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family("digits", DigitsConfig, train=train_digits, export=export_digits, evaluate=evaluate_digits)
