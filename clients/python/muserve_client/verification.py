"""Proves on a live server that answers depend on the request alone: neither on batch-mates, nor on the time of day.

For each golden request of a model (or a small one of our own, where a model has none) it compares the media's bytes of:
the same request again; the same request amid others, several times; each of its samples drawn alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from muserve.v1 import image_pb2, manifest_pb2
from muserve_client.async_client import AsyncClient
from muserve_client.images import Images, images_rpc
from muserve_client.models import Model

__all__ = ["Finding", "verify_model"]

_CROWD = 16
_MAX_SAMPLES_ALONE = 8
_MAX_SAMPLE_INDEX = 2**53


@dataclass(frozen=True)
class Finding:
    """One check of one request."""

    model: str
    """"digits/1"."""
    request: str
    """The golden request's name, or "default"."""
    check: str
    """What was compared."""
    difference: str = ""
    """What differed; empty if nothing did."""

    @property
    def passed(self) -> bool:
        """Whether all bytes were equal."""
        return not self.difference

    def __str__(self) -> str:
        verdict = "ok    " if self.passed else "FAILED"
        return f"{verdict}  {self.model} {self.request}: {self.check}" + (f": {self.difference}" * (not self.passed))


async def verify_model(client: AsyncClient, model: Model, *, rounds: int) -> AsyncIterator[Finding]:
    """Checks one model that is ready.

    Args:
        client: Connected to the server, or to replicas, which are then compared with each other.
        model: As listed.
        rounds: How often each request is repeated amid others.

    Yields:
        What was found, check by check.

    Raises:
        MuserveError: A call failed.
    """
    name = f"{model.name}/{model.version}"
    known = False
    detailed = await client.model(model.name, model.version)
    manifest = detailed.manifest or manifest_pb2.ModelManifest()
    for kind, verify in _VERIFIERS.items():
        for golden_name, request in _requests(manifest, kind, model.task):
            known = True
            request.model, request.version = model.name, model.version
            async for check, difference in verify(client, model, request, rounds):
                yield Finding(name, golden_name, check, difference)
    if not known:
        yield Finding(name, "none", f"this client has no check for the task {model.task!r}", "update it")


def _requests(manifest: manifest_pb2.ModelManifest, kind: str, task: str) -> Iterator[tuple[str, Any]]:
    """Yields the golden requests of one kind; without any, a small one of our own for the task."""
    goldens = [golden for golden in manifest.goldens if golden.WhichOneof("request") == kind]
    for golden in goldens:
        request = type(getattr(golden, kind))()
        request.CopyFrom(getattr(golden, kind))
        if not request.HasField("seed"):
            request.seed = 1
        yield golden.name, request
    if not goldens and _DEFAULTS[kind][0] == task:
        request = type(_DEFAULTS[kind][1])()
        request.CopyFrom(_DEFAULTS[kind][1])
        yield "default", request


async def _verify_images(
    client: AsyncClient, model: Model, request: image_pb2.GenerateImagesRequest, rounds: int
) -> AsyncIterator[tuple[str, str]]:
    async def send(wanted: image_pb2.GenerateImagesRequest) -> Images:
        return await client._call(images_rpc(wanted), None, None)

    first = await send(request)
    wrong_digest = f"the answer came from {first.info.digest[:12]}, listed is {model.digest[:12]}"
    yield "answered by the listed bundle", wrong_digest if first.info.digest != model.digest else ""
    yield "again, alone", _difference(first, await send(request))
    for number in range(1, rounds + 1):
        crowd = [_other(request, index) for index in range(_CROWD * (number - 1), _CROWD * number)]
        answers = await asyncio.gather(*(send(other) for other in [*crowd[::2], request, *crowd[1::2]]))
        answer = answers[len(crowd[::2])]
        is_shared = answer.info.batch_rows > first.info.batch_rows
        batch = f"in one batch of {answer.info.batch_rows} rows" if is_shared else "but in no batch with them"
        yield f"amid {_CROWD} other calls, {batch}, round {number}", _difference(first, answer)
    apart = image_pb2.GenerateImagesRequest()
    apart.CopyFrom(request)
    apart.layout = image_pb2.IMAGE_LAYOUT_SEPARATE
    together = await send(apart)
    alone = [await send(_sample(apart, index)) for index in range(min(len(together), _MAX_SAMPLES_ALONE))]
    different = [image.sample for image, one in zip(together, alone, strict=False) if image.png != one[0].png]
    text = f"sample {different[0]} alone has other bytes" if different else ""
    yield f"{len(alone)} samples, each alone", text


def _difference(expected: Images, got: Images) -> str:
    if len(expected) != len(got):
        return f"{len(got)} images instead of {len(expected)}"
    different = [left.sample for left, right in zip(expected, got, strict=True) if left.png != right.png]
    return f"sample {different[0]} has other bytes, {len(different)} of {len(got)} images differ" if different else ""


def _other(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    """Makes a call that shares batches with the request but not its content."""
    return image_pb2.GenerateImagesRequest(
        model=request.model, version=request.version, count=1 + index % 8, seed=1_000_003 + index
    )


def _sample(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    one = image_pb2.GenerateImagesRequest()
    one.CopyFrom(request)
    one.first_sample, one.count = request.first_sample + index, 1
    if len(request.labels) > 1:
        one.labels[:] = [request.labels[index]]
    return one


_VERIFIERS: dict[str, Callable[..., AsyncIterator[tuple[str, str]]]] = {"generate_images": _verify_images}
_DEFAULTS: dict[str, tuple[str, Any]] = {
    "generate_images": ("image", image_pb2.GenerateImagesRequest(count=4, seed=1)),
}
