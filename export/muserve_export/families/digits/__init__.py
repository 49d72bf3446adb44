"""The digits family: a GAN on small images with classes."""

from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.family import FamilyPackage

__all__ = ["FAMILY"]

FAMILY = FamilyPackage("digits", "a GAN on small images: handwritten digits, or your own", DigitsConfig, __name__)
