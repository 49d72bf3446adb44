"""Calls a server through whichever SDK this process imports, and prints what came back as JSON: no test imports this.

python driver.py ADDRESS
"""

# The SDK's types are those of another version here.
# mypy: disable-error-code="union-attr, arg-type"

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muserve.errors import MuserveError
from muserve_client import AsyncClient, Client

SATELLITE = Path(__file__).parents[2] / "clients/examples/satellite.jpg"
SERIES = [61, 74, 90, 66, 65, 78, 96, 70, 68, 83, 101, 73, 72, 88, 107, 78]
TEXT = "A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820."
Call = Callable[[Client], Any]


def sha(*parts: bytes) -> list[str]:
    """Digests of media."""
    return [hashlib.sha256(part).hexdigest() for part in parts]


def info(answer: Any) -> list[Any]:
    """Who answered."""
    return [answer.info.model, answer.info.version, answer.info.digest, answer.info.seed]


def images(client: Client) -> Any:
    """Single images, a sheet, another version, and the fixture bundle."""
    some, sheet = client.images(3, labels="7", seed=3), client.images(16, seed=4, sheet=True)
    first, shapes = client.images(2, seed=5, version=1), client.images(model="shapes", seed=7)
    pngs = sha(*(image.png for image in (*some, *sheet, *first, *shapes)))
    return [pngs, info(some), info(first), info(shapes), some[0].labels]


def forecast(client: Client) -> Any:
    """One series with quantiles, and one with times."""
    found = client.forecast({"a": SERIES, "b": SERIES[3:]}, 6, frequency="quarterly", quantiles=[0.1, 0.5, 0.9])
    return [[(one.id, one.point, sorted(one.quantiles.items())) for one in found], info(found)]


def music(client: Client) -> Any:
    """A piece with its picture, and an accompaniment of its bass."""
    piece = client.music("bossanova", bars=4, seed=7, tempo_bpm=120, piano_roll=True)
    bass = client.music("samba", bars=4, seed=8, tracks="bass")
    band = client.accompany(bass[0].midi, style="rock", seed=9, tracks=["drums", "keys"])
    heard = band.quantisation
    return [sha(piece[0].midi, piece[0].piano_roll, band[0].midi), info(piece), band.roles, [heard.notes, heard.bars]]


def translate(client: Client) -> Any:
    """There and back, with the row of all three."""
    found = client.translate(SATELLITE, "map", cycle=True, side_by_side=True)
    error = found.cycle.mean_absolute_error
    return [sha(found.png, found.cycle.png, found.side_by_side.png), found.source, found.width, error, info(found)]


def ask(client: Client) -> Any:
    """Out of the corpus, out of a text, and what has no answer."""
    found = [client.ask("What is gRPC?", seed=1), client.ask("Who invented the lantern?", TEXT, seed=1)]
    found.append(client.ask("When is tea time?", seed=1))
    return [[one.text, one.answerable, one.is_answerable, one.nearest, info(one)] for one in found]


def questions(client: Client) -> Any:
    """Questions that a text answers."""
    return [[pair.question, pair.answer, pair.score] for pair in client.questions(TEXT, count=2, seed=1)]


def models(client: Client) -> Any:
    """The list, and one manifest."""
    listed = [[m.name, m.version, m.task, m.state, m.digest, m.default] for m in client.models()]
    manifest = client.model("digits").manifest
    return [listed, [m.name for m in client.models("music")], manifest.SerializeToString(deterministic=True).hex()]


async def at_once(address: str) -> Any:
    """Calls of each kind in progress together, through the asynchronous client."""
    async with AsyncClient(address, max_message_mib=64) as client:
        found = await asyncio.gather(
            client.images(2, seed=6),
            client.forecast(SERIES, 3, frequency="quarterly"),
            client.music("rock", bars=2, seed=6),
            client.ask("What is gRPC?", seed=6),
            client.images(0),
            return_exceptions=True,
        )
    images, forecasts, pieces, answer, error = found
    media = sha(*(image.png for image in images), pieces[0].midi)
    return [media, forecasts[0].point, answer.text, type(error).__name__]


REFUSED: dict[str, Call] = {
    "count": lambda client: client.images(0, truncation=3),
    "label": lambda client: client.images(labels=["7", "x"]),
    "model": lambda client: client.images(model="nonesuch"),
    "other task": lambda client: client.images(model="music"),
    "version": lambda client: client.images(model="digits", version=99),
    "get model": lambda client: client.model("nonesuch"),
    "series": lambda client: client.forecast([1.0, float("inf"), 2.0], 6, frequency="yearly"),
    "horizon": lambda client: client.forecast(SERIES, 10**6, frequency="quarterly"),
    "frequency": lambda client: client.forecast(SERIES, 4),
    "style": lambda client: client.music("nonesuch", bars=10**6, density=2),
    "midi": lambda client: client.accompany(b"no MIDI"),
    "image": lambda client: client.translate(b"no image", "map"),
    "domain": lambda client: client.translate(SATELLITE, "nowhere"),
    "question": lambda client: client.ask(""),
    "context": lambda client: client.questions("x" * 100_000),
    "too large": lambda client: client.translate(b"x" * 40 * 2**20, "map"),
}
"""Calls that fail, by what is wrong with them."""


def refusal(client: Client, call: Call) -> Any:
    """Class, code, reason and fields of an error; not its words, which may improve."""
    try:
        call(client)
    except MuserveError as error:
        fields = [violation.field for violation in getattr(error, "violations", ())]
        return [type(error).__name__, error.code.name, error.reason, fields]
    return "answered"


def main() -> None:
    """Makes every call once."""
    with Client(sys.argv[1], max_message_mib=64) as client:
        client.wait_until_ready(timeout_s=60)
        calls: tuple[Call, ...] = (images, forecast, music, translate, ask, questions, models)
        found = {call.__name__: call(client) for call in calls}
        refused = {name: refusal(client, call) for name, call in REFUSED.items()}
    found["at_once"] = asyncio.run(at_once(sys.argv[1]))
    print(json.dumps({"answers": found, "refusals": refused}))


if __name__ == "__main__":
    main()
