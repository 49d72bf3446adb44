"""The answers family: questions and texts to answers, and texts to questions, taught against a discriminator."""

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.collection import collect_answers
from muserve_export.families.answers.evaluate import evaluate_answers
from muserve_export.families.answers.export import export_answers
from muserve_export.families.answers.train import train_answers
from muserve_export.families.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    "answers",
    AnswersConfig,
    train=train_answers,
    export=export_answers,
    evaluate=evaluate_answers,
    collect=collect_answers,
    has_details=True,
)
