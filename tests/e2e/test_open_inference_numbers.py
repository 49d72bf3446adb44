"""What the typed API computes and what the Open Inference Protocol computes of the same tensors are the same bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muserve_server.model import LocalModel, LocalOptions
from tests.e2e.scenarios import SCENARIOS, TEST_KINDS, Scenario
from tests.server.calling import channel_to
from tests.server.services.inferring import Inference, raw_request, tensors_of, typed_request
from tests.servers import serving

Tensors = dict[str, NDArray[Any]]


def runs(recorded: Tensors) -> Iterator[tuple[str, bool, Tensors, Tensors]]:
    """Graph, whether it may have been run beside other rows of its request, inputs and outputs of each run."""
    keys = [re.fullmatch(r"([\d.]+)\.([a-z_]+)\.(in|out)\.(\w+)", key) for key in recorded]
    assert all(keys)
    parts = [key.groups() for key in keys if key]
    for run, graph in dict.fromkeys(part[:2] for part in parts):
        sides = [
            {name: recorded[f"{run}.{graph}.{side}.{name}"] for *which, name in parts if which == [run, graph, side]}
            for side in ("in", "out")
        ]
        yield graph, "." in run, sides[0], sides[1]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_the_numbers_are_those_of_the_typed_api(scenario: Scenario, tmp_path: Path) -> None:
    options = LocalOptions(kinds=TEST_KINDS)
    async with await LocalModel.open(scenario.write(tmp_path), options) as model:
        recorded = [await model.record(request) for request in scenario.good]
    compared = set()
    async with serving(tmp_path, options=options) as server, channel_to(server.grpc_port) as channel:
        inference = Inference(server, channel)
        for graph, in_company, inputs, outputs in (run for tensors in recorded for run in runs(tensors)):
            for make in (raw_request, typed_request):
                answered = tensors_of(await inference.ModelInfer(make(f"{scenario.name}.{graph}", inputs)))
                assert list(answered) == list(outputs)
                for name, expected in outputs.items():
                    assert answered[name].dtype == expected.dtype
                    # The bits of a row of these tiny graphs may depend on the size of its run; alone they do not.
                    np.testing.assert_allclose(
                        answered[name], expected, rtol=1e-6 if in_company else 0, atol=0, strict=True
                    )
            compared.add(graph)
    assert compared == {graph.role for graph in model.bundle.manifest.graphs}
