"""The synchronous client: every call of the house as a method."""

from __future__ import annotations

from muserve_client.calls.answer import flow as answer
from muserve_client.calls.forecast import flow as forecast_
from muserve_client.calls.image import flow as image
from muserve_client.calls.music import flow as music_
from muserve_client.calls.server import flow as server
from muserve_client.calls.translation import flow as translation
from muserve_client.connection import Connection, blocking

__all__ = ["Client"]


class Client(Connection):
    """Calls a Muserve server. Safe to share between threads; connects at the first call.

    with Client("localhost:8001") as client:
        client.images(count=16, seed=7).save("digits/")
    """

    images = blocking(image.images)
    forecast = blocking(forecast_.forecast)
    music = blocking(music_.music)
    accompany = blocking(music_.accompany)
    translate = blocking(translation.translate)
    ask = blocking(answer.ask)
    questions = blocking(answer.questions)
    models = blocking(server.models)
    model = blocking(server.model)
    is_ready = blocking(server.is_ready)
    wait_until_ready = blocking(server.wait_until_ready)
