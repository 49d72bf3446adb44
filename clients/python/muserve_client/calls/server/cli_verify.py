"""`muserve verify`: proves that a live server is deterministic, with its own golden requests."""

from __future__ import annotations

import argparse
import asyncio

from muserve.errors import ModelNotFoundError
from muserve_client.async_client import AsyncClient
from muserve_client.calls.kind import Command
from muserve_client.calls.registry import installed_calls
from muserve_client.flags import client_arguments, server_of
from muserve_client.verification import Finding, verify_model

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME", help="only this model (default: all that are ready)")
    parser.add_argument("--version", metavar="N", type=int, help="only this version of them (default: all)")
    parser.add_argument(
        "--rounds", metavar="N", type=int, default=3, help="how often to repeat each request among others (default: 3)"
    )


def _run(namespace: argparse.Namespace) -> int:
    findings = asyncio.run(_verify(namespace))
    failed = [finding for finding in findings if not finding.passed]
    print(f"{len(findings) - len(failed)} of {len(findings)} checks passed")
    return 1 if failed else 0


async def _verify(namespace: argparse.Namespace) -> list[Finding]:
    findings: list[Finding] = []
    probes = installed_calls().probes
    async with AsyncClient(**client_arguments(namespace)) as client:
        models = [
            model
            for model in await client.models()
            if model.state == "ready"
            and namespace.model in (None, model.name)
            and namespace.version in (None, model.version)
        ]
        if not models:
            requested = f" named {namespace.model!r}" if namespace.model else ""
            requested += f" of version {namespace.version}" if namespace.version is not None else ""
            raise ModelNotFoundError(f"no model{requested} is ready at {server_of(namespace)}; see: muserve models")
        for model in models:
            async for finding in verify_model(client, model, probes=probes, rounds=namespace.rounds):
                print(finding)
                findings.append(finding)
    return findings


COMMAND = Command(
    "verify",
    "Check on a live server that the same request gives the same bytes, alone and among others.",
    _add_flags,
    _run,
)
