"""The asyncio client: every call of the house as a coroutine method, with the names and arguments of `Client`."""

from __future__ import annotations

from muserve_client.async_connection import AsyncConnection, awaited
from muserve_client.calls.answer import flow as answer
from muserve_client.calls.forecast import flow as forecast_
from muserve_client.calls.image import flow as image
from muserve_client.calls.music import flow as music_
from muserve_client.calls.server import flow as server
from muserve_client.calls.translation import flow as translation

__all__ = ["AsyncClient"]


class AsyncClient(AsyncConnection):
    """Calls a Muserve server from asyncio: `Client`, awaited.

    It connects at its first call and belongs to the event loop that makes it: use one client a loop.

    async with AsyncClient("localhost:8001") as client:
        (await client.images(count=16, seed=7)).save("digits/")
    """

    images = awaited(image.images)
    forecast = awaited(forecast_.forecast)
    music = awaited(music_.music)
    accompany = awaited(music_.accompany)
    translate = awaited(translation.translate)
    ask = awaited(answer.ask)
    questions = awaited(answer.questions)
    models = awaited(server.models)
    model = awaited(server.model)
    is_ready = awaited(server.is_ready)
    wait_until_ready = awaited(server.wait_until_ready)
