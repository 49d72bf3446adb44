"""The translation family: a CycleGAN, which moves images between two domains and needs no pairs."""

from muserve_export.families.family import Family
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.evaluate import evaluate_translation
from muserve_export.families.translation.export import export_translation
from muserve_export.families.translation.sources import collect_translation
from muserve_export.families.translation.train import train_translation

__all__ = ["FAMILY"]

FAMILY = Family(
    "translation",
    TranslationConfig,
    train=train_translation,
    export=export_translation,
    evaluate=evaluate_translation,
    collect=collect_translation,
    has_details=True,
)
