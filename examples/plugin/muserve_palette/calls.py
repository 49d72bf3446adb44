"""The call `palettes`, the command `muserve palette`, and how `muserve verify` checks models of palettes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muserve.v1 import manifest_pb2
from muserve_client import Client
from muserve_client.calls import (
    Answer,
    Calls,
    Command,
    Fields,
    Flow,
    Info,
    Probe,
    Rpc,
    add_model_flags,
    answer_of,
    client_arguments,
    method_of,
    one_sample,
    read_info,
    write_file,
)
from muserve_palette.v1 import palette_pb2

__all__ = ["CALLS", "Palette", "Palettes", "palettes"]

MAKE_PALETTES = method_of(palette_pb2.DESCRIPTOR.services_by_name["PaletteService"], "MakePalettes")


@dataclass(frozen=True)
class Palette:
    """One palette."""

    colours: tuple[str, ...]
    """Five hex codes, from dark to light."""
    sample: int
    """Index in the seed's series."""
    png: bytes
    """The colours side by side."""


@dataclass(frozen=True)
class Palettes:
    """The palettes of one answer."""

    palettes: tuple[Palette, ...]
    """In the order of their samples."""
    nearest_mood: str
    """The word of the training table that is spelt most alike."""
    similarity: float
    """How alike, 0 up to 1; below about 0.3 the model only guesses."""
    info: Info
    """Model, seed and timings."""


def palettes(
    mood: str,
    count: int | None = None,
    *,
    seed: int | None = None,
    first_sample: int = 0,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Palettes]:
    """Makes palettes for a mood: `client.run(palettes("calm", 3, seed=7))`.

    Args:
        mood: A word: "calm".
        count: How many; None takes 1.
        seed: From 0 up to 2^64 - 1; None lets the server draw one.
        first_sample: Index in the seed's series to begin at.
        model: Its name; "" takes the server's default.
        version: Its version; None takes the newest.
        timeout_s: Seconds for this call, retries included; None takes the client's.
        request_id: The call's name in the server's log; None draws one.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), palette_pb2.MakePalettesRequest()
    fields.fill(
        request, mood=mood, count=count, seed=seed, first_sample=first_sample, model=model, version=version
    )  # fmt: skip
    fields.check()
    response = yield Rpc(MAKE_PALETTES, request, timeout_s=timeout_s, request_id=request_id)
    made = (Palette(tuple(each.colours), each.sample, each.swatch_png) for each in response.palettes)
    return Palettes(tuple(made), response.nearest_mood, response.similarity, read_info(response.info))


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mood", metavar="MOOD", help="a word, such as calm")
    parser.add_argument("--count", metavar="N", type=int, help="how many (default: 1)")
    parser.add_argument("--seed", metavar="N", type=int, help="for the same palettes again (default: drawn and told)")
    parser.add_argument("--out", metavar="PATH", type=Path, help="x.png: the first as a picture")
    add_model_flags(parser)


def _run(namespace: argparse.Namespace) -> int:
    with Client(**client_arguments(namespace)) as client:
        found = client.run(
            palettes(
                namespace.mood, namespace.count, seed=namespace.seed, model=namespace.model, version=namespace.version
            )
        )
    for palette in found.palettes:
        print(*palette.colours)
    if namespace.out:
        print(f"saved {write_file(namespace.out, found.palettes[0].png)}")
    if found.similarity < 1:
        print(f"the nearest word that the model learnt is {found.nearest_mood!r} ({found.similarity:.2f})")
    print(f"model {found.info.model}, version {found.info.version}, seed {found.info.seed}")
    return 0


def _read(response: palette_pb2.MakePalettesResponse) -> Answer:
    items = {f"sample {each.sample}": each.SerializeToString(deterministic=True) for each in response.palettes}
    return answer_of(response, items)


def _default(manifest: manifest_pb2.ModelManifest) -> palette_pb2.MakePalettesRequest:
    del manifest
    return palette_pb2.MakePalettesRequest(mood="calm", count=4, seed=1)


def _other(request: palette_pb2.MakePalettesRequest, index: int) -> Any:
    return palette_pb2.MakePalettesRequest(
        model=request.model,
        version=request.version,
        mood=("angry", "fresh")[index % 2],
        count=1 + index % 8,
        seed=index,
    )


CALLS = Calls(
    "palette",
    commands=(Command("palette", "Make colour palettes for a mood.", _add_flags, _run),),
    probes=(
        Probe(
            task="palette",
            request=palette_pb2.MakePalettesRequest,
            method=MAKE_PALETTES,
            nouns=("palettes", "samples", "bytes"),
            read=_read,
            default=_default,
            other=_other,
            alone=one_sample,
        ),
    ),
)
