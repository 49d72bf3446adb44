"""A network with all that training keeps beside it: its optimizer, and averaged weights where they are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from muserve_export.training.ema import MovingAverage

__all__ = ["TrainedNetwork", "learn_together", "modules_of", "optimizers_of"]


class TrainedNetwork:
    """One network under training. Networks are set up in the order in which they are made."""

    def __init__(
        self, fabric: Fabric, name: str, module: nn.Module, optimizer: torch.optim.Optimizer, *, ema_decay: float = 0.0
    ) -> None:
        """Sets the network up with Fabric.

        Args:
            fabric: Launched.
            name: Its name in checkpoints.
            module: The network, not yet wrapped.
            optimizer: Of its parameters; its learning rate is the highest that `scale_learning_rate` sets.
            ema_decay: Of the averaged weights, see `MovingAverage`; 0 keeps none.
        """
        self.name = name
        self.average = MovingAverage(module, ema_decay) if ema_decay else None
        if self.average:
            self.average.module.to(fabric.device)
        self.fabric = fabric
        self._learning_rates = [group["lr"] for group in optimizer.param_groups]
        self.network: Any
        self.optimizer: Any
        self.network, self.optimizer = fabric.setup(module, optimizer)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Runs the network as Fabric wrapped it."""
        return self.network(*inputs, **options)

    @property
    def best(self) -> nn.Module:
        """What samples are drawn from: the averaged network, or the plain one.

        It is not Fabric's wrapper: only the first process draws, and the wrapper would wait for the others.
        """
        module: nn.Module = self.average.module if self.average else self.network.module
        return module

    def scale_learning_rate(self, share: float) -> None:
        """Sets the learning rate to a share of the highest."""
        for group, rate in zip(self.optimizer.param_groups, self._learning_rates, strict=True):
            group["lr"] = rate * share

    def learn(self, loss: Tensor, *, clip_norm: float = 0.0) -> None:
        """Takes one step of the optimizer.

        Args:
            loss: A scalar.
            clip_norm: Longest gradient; 0 for any.
        """
        learn_together([self], loss, clip_norm=clip_norm)

    def follow(self, step: int) -> None:
        """Takes the weights after a step, counted from 1, into the average."""
        if self.average:
            self.average.update(self.network.module, step)


def learn_together(networks: Sequence[TrainedNetwork], loss: Tensor, *, clip_norm: float = 0.0) -> None:
    """Takes one step of several networks' optimizers on one loss.

    Args:
        networks: The networks.
        loss: A scalar.
        clip_norm: Maximum norm of each network's gradient; 0 for no limit.
    """
    for network in networks:
        network.optimizer.zero_grad()
    networks[0].fabric.backward(loss)
    for network in networks:
        if clip_norm:
            network.fabric.clip_gradients(network.network, network.optimizer, max_norm=clip_norm)
        network.optimizer.step()


def modules_of(networks: Iterable[TrainedNetwork]) -> Mapping[str, Any]:
    """Returns `Learner.modules` of some networks: each by its name, its average as <name>_average."""
    modules: dict[str, Any] = {}
    for one in networks:
        modules[one.name] = one.network
        if one.average:
            modules[f"{one.name}_average"] = one.average.module
    return modules


def optimizers_of(networks: Iterable[TrainedNetwork]) -> Mapping[str, Any]:
    """Returns `Learner.optimizers` of some networks: each as <name>_optimizer."""
    return {f"{one.name}_optimizer": one.optimizer for one in networks}
