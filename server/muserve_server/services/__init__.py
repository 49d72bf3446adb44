"""One thin servicer a proto service; health."""

from muserve_server.services.answer import AnswerService
from muserve_server.services.forecast import ForecastService
from muserve_server.services.health import Health
from muserve_server.services.image import ImageService
from muserve_server.services.model import ModelService
from muserve_server.services.music import MusicService
from muserve_server.services.translation import TranslationService

__all__ = [
    "AnswerService",
    "ForecastService",
    "Health",
    "ImageService",
    "ModelService",
    "MusicService",
    "TranslationService",
]
