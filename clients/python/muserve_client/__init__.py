"""The Python SDK: images, music, translations, answers, forecasts and models of a Muserve server, in typed calls.

with Client("localhost:8001") as client:
    client.images(count=16, seed=7).save("digits/")
"""

from muserve import __version__
from muserve.configuration import ConfigurationError
from muserve.errors import (
    CancelledCallError,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    MuserveError,
    PermissionDeniedError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
)
from muserve_client.async_client import AsyncClient
from muserve_client.calls.answer.result import Answer, Answers, Evidence, QuestionAnswer, Questions, Source
from muserve_client.calls.forecast.forecast import Forecast
from muserve_client.calls.forecast.result import Forecasts
from muserve_client.calls.image.result import Image, Images
from muserve_client.calls.music.result import Accompaniment, Music, Piece, Quantisation, Track
from muserve_client.calls.server.result import Model
from muserve_client.calls.translation.result import Reconstruction, Translation
from muserve_client.client import Client
from muserve_client.info import Info, Timings
from muserve_client.options import Retries
from muserve_client.pictures import Picture

__all__ = [
    "Accompaniment",
    "Answer",
    "Answers",
    "AsyncClient",
    "CancelledCallError",
    "Client",
    "ConfigurationError",
    "DeadlineExceededError",
    "Evidence",
    "FieldViolation",
    "Forecast",
    "Forecasts",
    "Image",
    "Images",
    "Info",
    "InternalError",
    "InvalidRequestError",
    "MessageTooLargeError",
    "Model",
    "ModelNotFoundError",
    "ModelRefusedError",
    "MuserveError",
    "Music",
    "PermissionDeniedError",
    "Picture",
    "Piece",
    "Quantisation",
    "QuestionAnswer",
    "Questions",
    "QueueFullError",
    "Reconstruction",
    "Retries",
    "Source",
    "Timings",
    "Track",
    "Translation",
    "UnavailableError",
    "UnimplementedError",
    "__version__",
]
