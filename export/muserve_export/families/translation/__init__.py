"""The translation family: a CycleGAN, which translates images between two domains without pairs."""

from muserve_export.families.family import FamilyPackage
from muserve_export.families.translation.config import TranslationConfig

__all__ = ["FAMILY"]

FAMILY = FamilyPackage(
    "translation",
    "a CycleGAN between two folders of images: satellite pictures and maps, or your own",
    TranslationConfig,
    __name__,
    sources="a folder with bmng.jpg and shadedrelief.jpg",
    has_details=True,
)
