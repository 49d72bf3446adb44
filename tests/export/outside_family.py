"""A family of another package, whose task Muserve's contract does not know: it learns to double numbers."""

from __future__ import annotations

from pathlib import Path

from tests.plugins import install, install_echo

__all__ = ["install_doubling"]

_FAMILY = """
    from dataclasses import dataclass

    from muserve.configuration import option
    from muserve_export.families import FamilyPackage
    from muserve_export.training.config import TrainingConfig

    @dataclass(frozen=True)
    class DoublingConfig(TrainingConfig):
        learning_rate: float = option(0.5, "step size of SGD", minimum=0)

    FAMILY = FamilyPackage("doubling", "a single weight that doubles numbers", DoublingConfig, "acme_doubling")
"""
_DATA = """
    from dataclasses import dataclass

    import torch

    @dataclass(frozen=True)
    class Numbers:
        values: torch.Tensor
        sha256: str = "0" * 64

        def __len__(self):
            return len(self.values)

        def batch(self, indices):
            return (self.values[indices],)

    def load_data(config):
        return Numbers(torch.linspace(-1, 1, 64)[:, None])
"""
_TRAIN = """
    import torch
    from torch import nn

    from muserve_export.training.networks import TrainedNetwork, modules_of, optimizers_of

    class Learner:
        def __init__(self, fabric, config):
            torch.manual_seed(config.seed)
            network = nn.Linear(1, 1)
            optimizer = torch.optim.SGD(network.parameters(), lr=config.learning_rate)
            self._doubler = TrainedNetwork(fabric, "doubler", network, optimizer)

        def modules(self):
            return modules_of([self._doubler])

        def optimizers(self):
            return optimizers_of([self._doubler])

        def step(self, batch, step, steps):
            loss = (self._doubler(batch[0]) - 2 * batch[0]).square().mean()
            self._doubler.learn(loss)
            return {"squared_error": loss}

        def sheet(self):
            return None

    def make_learner(fabric, config, data):
        return Learner(fabric, config), data
"""
_EXPORT = """
    import numpy as np
    from google.protobuf import any_pb2
    from torch import nn

    from acme_echo.protos import EchoRequest, EchoSettings
    from muserve.v1 import manifest_pb2
    from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec

    def plan_bundle(trained):
        network = trained.load(nn.Linear(1, 1), "doubler")
        settings = any_pb2.Any()
        settings.Pack(EchoSettings(graph="doubler"))
        golden = manifest_pb2.GoldenRequest(name="half", tolerance=1e-5)
        golden.custom.Pack(EchoRequest(values=[0.5]))
        return BundlePlan(
            manifest=manifest_pb2.ModelManifest(
                task_name="echo", description="Doubles.", licence="Apache-2.0", custom=settings
            ),
            graphs=[
                GraphSource(
                    role="doubler",
                    module=network,
                    inputs=(tensor_spec("x", [1], "number"),),
                    outputs=(tensor_spec("y", [1], "number"),),
                    draw=lambda rows, random: (random.standard_normal((rows, 1)).astype(np.float32),),
                )
            ],
            goldens=[golden],
        )
"""
_EVALUATE = """
    import asyncio

    from acme_echo.protos import EchoRequest
    from muserve_export.measuring import Figures, make_metric
    from muserve_server.model import LocalModel

    def measure(folder, config, data, part):
        return Figures([make_metric("double_of_one", asyncio.run(_double(folder)), "2 is right", {"exactly": 2.0})])

    async def _double(folder):
        async with await LocalModel.open(folder) as model:
            return (await model.answer(EchoRequest(values=[1.0]))).values[0]
"""


def install_doubling(site: Path) -> None:
    """Installs the family "doubling" of acme-doubling, and the task kind "echo" of acme-echo that serves it."""
    install_echo(site)
    sources = {"__init__": _FAMILY, "data": _DATA, "train": _TRAIN, "export": _EXPORT, "evaluate": _EVALUATE}
    modules = {f"acme_doubling/{name}.py": source for name, source in sources.items()}
    modules["acme_doubling/recipes/tutorial.toml"] = "# All there is to it.\nbatch_size = 16\nepochs = 20\n"
    install(site, "acme-doubling", modules, {"muserve.families": {"doubling": "acme_doubling:FAMILY"}})
