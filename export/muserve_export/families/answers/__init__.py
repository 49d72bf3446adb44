"""The answers family: questions and texts to answers, and texts to questions, taught against a discriminator."""

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.legacy import OldFamily

__all__ = ["FAMILY"]

FAMILY = OldFamily(
    "answers",
    "a question-answer generator: a computing dictionary, or your own questions and answers",
    AnswersConfig,
    __name__,
    sources="the Debian package dict-foldoc, or a folder with foldoc.index and foldoc.dict.dz",
    has_details=True,
    train="train:train_answers",
    export="export:export_answers",
    evaluate="evaluate:evaluate_answers",
    make_data="corpus.collection:collect_answers",
)
