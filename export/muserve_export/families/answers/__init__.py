"""The answers family: questions and texts to answers, and texts to questions, trained against a discriminator."""

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.family import FamilyPackage

__all__ = ["FAMILY"]

FAMILY = FamilyPackage(
    "answers",
    "a question-answer generator: a computing dictionary, or your own questions and answers",
    AnswersConfig,
    __name__,
    sources="the Debian package dict-foldoc, or a folder with foldoc.index and foldoc.dict.dz",
    has_details=True,
    baselines={"tutorial": "muserve_export.families.answers_tutorial"},
)
