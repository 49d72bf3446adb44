"""Checks on a live server that responses depend on the request alone, not on what shares its batches.

For each golden request of a model (or a small default one, if it has none) it compares, bit by bit: the same request
again; the same request among others, several times; each of its samples or series alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from muserve.bundle import ManifestError, golden_request
from muserve.v1 import manifest_pb2
from muserve_client.async_client import AsyncClient
from muserve_client.calls.probes import Answer, Probe, copy_of
from muserve_client.calls.server.result import Model
from muserve_client.flows import Flow, Rpc

__all__ = ["Finding", "verify_model"]

_CROWD = 16
_MAX_ITEMS_ALONE = 8


@dataclass(frozen=True)
class Finding:
    """One check of one request."""

    model: str
    """"digits/1"."""
    request: str
    """Name of the golden request, or of the small one: "default"."""
    check: str
    """What was compared."""
    difference: str = ""
    """What differed; empty if nothing did."""

    @property
    def passed(self) -> bool:
        """Whether nothing differed."""
        return not self.difference

    def __str__(self) -> str:
        verdict = "ok    " if self.passed else "FAILED"
        return f"{verdict}  {self.model} {self.request}: {self.check}" + (f": {self.difference}" * (not self.passed))


async def verify_model(
    client: AsyncClient, model: Model, *, probes: Sequence[Probe], rounds: int
) -> AsyncIterator[Finding]:
    """Checks one model that is ready.

    Args:
        client: Connected to the server, or to replicas, which are then compared with each other.
        model: As listed.
        probes: All that are installed.
        rounds: How often each request is repeated among others.

    Yields:
        One finding per check.

    Raises:
        MuserveError: A call failed.
    """
    name = f"{model.name}/{model.version}"
    known = False
    detailed = await client.model(model.name, model.version)
    manifest = detailed.manifest or manifest_pb2.ModelManifest()
    for probe in probes:
        for golden_name, request in _requests(manifest, probe, model.task):
            known = True
            request.model, request.version = model.name, model.version
            async for check, difference in _verify(client, model, probe, request, rounds):
                yield Finding(name, golden_name, check, difference)
    if not known:
        remedy = "update it, or install the package that brings one (an entry point of the group muserve.calls)"
        yield Finding(name, "none", f"this client has no check for the task {model.task!r}", remedy)


def _requests(manifest: manifest_pb2.ModelManifest, probe: Probe, task: str) -> Iterator[tuple[str, Any]]:
    """Yields the golden requests of one kind; without any, a small one for the task."""
    has_goldens = False
    for golden in manifest.goldens:
        request = _golden(golden)
        if isinstance(request, probe.request):
            has_goldens = True
            request = copy_of(request)
            probe.settle(request)
            yield golden.name, request
    default = probe.default(manifest) if not has_goldens and probe.task == task else None
    if default is not None:
        yield probe.name, default


def _golden(golden: manifest_pb2.GoldenRequest) -> Message | None:
    """Returns a golden's request; None for a message of a package that is not installed here."""
    try:
        return golden_request(golden)
    except ManifestError:
        return None


def _ask(probe: Probe, request: Any) -> Flow[Answer]:
    return probe.read((yield Rpc(probe.method, request)))


async def _verify(
    client: AsyncClient, model: Model, probe: Probe, request: Any, rounds: int
) -> AsyncIterator[tuple[str, str]]:
    async def send(wanted: Any) -> Answer:
        return await client.run(_ask(probe, wanted))

    first = await send(request)
    wrong_digest = f"the answer came from {first.digest[:12]}, listed is {model.digest[:12]}"
    yield "answered by the listed bundle", wrong_digest if first.digest != model.digest else ""
    yield "again, alone", _difference(probe, first, await send(request))
    for number in range(1, rounds + 1):
        crowd = [probe.other(request, index) for index in range(_CROWD * (number - 1), _CROWD * number)]
        answers = await asyncio.gather(*(send(other) for other in [*crowd[::2], request, *crowd[1::2]]))
        answer = answers[len(crowd[::2])]
        is_shared = answer.batch_rows > first.batch_rows
        batch = f"in one batch of {answer.batch_rows} rows" if is_shared else "but in no batch with them"
        yield f"amid {_CROWD} other calls, {batch}, round {number}", _difference(probe, first, answer)
    _, ones, content = probe.nouns
    apart = probe.apart(request)
    together = list((await send(apart)).items.items())[:_MAX_ITEMS_ALONE]
    alone = [await send(probe.alone(apart, index)) for index in range(len(together))]
    different = [name for (name, whole), one in zip(together, alone, strict=True) if whole not in one.items.values()]
    yield f"{len(alone)} {ones}, each alone", f"{different[0]} alone has other {content}" if different else ""


def _difference(probe: Probe, expected: Answer, got: Answer) -> str:
    items, _, content = probe.nouns
    if len(expected.items) != len(got.items):
        return f"{len(got.items)} {items} instead of {len(expected.items)}"
    different = [name for name, whole in expected.items.items() if got.items.get(name) != whole]
    return (
        f"{different[0]} has other {content}, {len(different)} of {len(got.items)} {items} differ" if different else ""
    )
