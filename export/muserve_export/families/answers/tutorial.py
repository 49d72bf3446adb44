"""The published "question-answer GAN", exactly: 100 random numbers to one number, judged one number at a time.

It reads no question and writes no answer. It is trained and exported to show what it is, on the one number that an
answer can be without its words: how long it is. It is not behind AnswerService.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve.v1 import manifest_pb2
from muserve_export.bundling import GraphSource
from muserve_export.bundling.graphs import write_graphs
from muserve_export.errors import RunError
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.corpus import Corpus
from muserve_export.families.answers.examples.maker import ExampleMaker
from muserve_export.families.answers.examples.wordings import answer_sentence

__all__ = ["LengthSet", "TutorialLearner", "export_tutorial", "make_tutorial_networks"]

LATENT_SIZE = 100
_GENERATOR = (LATENT_SIZE, 128, 256, 512, 1024, 2048, 1)
_DISCRIMINATOR = (1, 512, 256, 128, 1)
_MOST_WORDS = 40
_SAMPLES = 2000
_SEED = 9_000


def make_tutorial_networks() -> tuple[nn.Module, nn.Module]:
    """Makes generator and discriminator; the second gives logits, which its loss turns into probabilities."""
    return nn.Sequential(*_layers(_GENERATOR), nn.Tanh()), nn.Sequential(*_layers(_DISCRIMINATOR))


def _layers(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return layers[:-1]


class LengthSet:
    """How many words the true answers have, from -1 for none to 1 for 40; see `training.loop.TrainingSet`."""

    def __init__(self, corpus: Corpus) -> None:
        """Measures the answers of the training part."""
        maker = ExampleMaker(corpus, "train")
        answers = [answer_sentence(triple) for triple in maker.triples] + [pair.answer for pair in maker.pairs]
        words = torch.tensor([min(len(answer.split()), _MOST_WORDS) for answer in answers], dtype=torch.float32)
        self.values = (2 * words / _MOST_WORDS - 1)[:, None]

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, indices: Tensor) -> tuple[Tensor]:
        """Returns items by index, float32 [item, 1]."""
        return (self.values[indices],)


class TutorialLearner:
    """The published training; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: AnswersConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._modules: dict[str, Any] = {}
        self._optimizers: dict[str, Any] = {}
        for name, module in zip(("generator", "discriminator"), make_tutorial_networks(), strict=True):
            optimizer = torch.optim.Adam(module.parameters(), lr=config.critic_learning_rate)
            self._modules[name], self._optimizers[name] = fabric.setup(module, optimizer)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return self._modules

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {f"{name}_optimizer": optimizer for name, optimizer in self._optimizers.items()}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Numbers make no sheet."""
        return None

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Teaches the discriminator, then the generator, one batch."""
        (real,) = batch
        fake = self._modules["generator"](torch.randn(len(real), LATENT_SIZE, device=real.device))
        discriminator_loss = (self._judge(real, real=True) + self._judge(fake.detach(), real=False)) / 2
        self._apply(discriminator_loss, "discriminator")
        generator_loss = self._judge(fake, real=True)
        self._apply(generator_loss, "generator")
        return {"generator_loss": generator_loss.detach(), "discriminator_loss": discriminator_loss.detach()}

    def _judge(self, values: Tensor, *, real: bool) -> Tensor:
        logits = self._modules["discriminator"](values)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    def _apply(self, loss: Tensor, name: str) -> None:
        self._optimizers[name].zero_grad()
        self._fabric.backward(loss)
        self._optimizers[name].step()


def export_tutorial(
    checkpoint: Mapping[str, Any], corpus: Corpus, destination: Path, *, name: str, version: int | None
) -> Path:
    """Writes the generator as graphs/generator.onnx and .ts with a card; no manifest, so that no server takes it.

    Args:
        checkpoint: The newest of a run.
        corpus: What it was trained on.
        destination: The folder to write into.
        name: Name of the folder.
        version: Its number; None takes 1.

    Raises:
        RunError: The folder is there already.
    """
    folder = destination / name / str(version or 1)
    if folder.exists():
        raise RunError(f"{folder} is there already; take another --name or --version")
    generator, _ = make_tutorial_networks()
    generator.load_state_dict(checkpoint["generator"])
    write_graphs([_graph(generator.eval())], folder)
    made = _lengths(generator(torch.randn(_SAMPLES, LATENT_SIZE, generator=torch.Generator().manual_seed(_SEED))))
    real = _lengths(LengthSet(corpus).values)
    sizes = [" → ".join(map(str, each)) for each in (_GENERATOR, _DISCRIMINATOR)]
    card = f"""# {name} {version or 1}: the published question-answer GAN

A generator {sizes[0]} against a discriminator {sizes[1]}, binary cross-entropy, Adam.
Trained for {checkpoint["step"]:,} steps.

It maps noise to one number. It cannot answer a question, and nothing serves it. The number stands for how many words an
answer has: {made.mean():.1f} ± {made.std():.1f} in {_SAMPLES:,} samples, {real.mean():.1f} ± {real.std():.1f} in true
ones.
"""
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return folder


def _lengths(values: Tensor) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = (values.detach().numpy()[:, 0].astype(np.float64) + 1) * _MOST_WORDS / 2
    return lengths


def _graph(generator: nn.Module) -> GraphSource:
    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return (random.standard_normal((rows, LATENT_SIZE)).astype(np.float32),)

    make: Callable[..., manifest_pb2.TensorSpec] = manifest_pb2.TensorSpec
    number = manifest_pb2.DATA_TYPE_FLOAT32
    return GraphSource(
        role="generator",
        module=generator,
        inputs=(make(name="latent", dtype=number, shape=[-1, LATENT_SIZE], unit="standard normal"),),
        outputs=(make(name="value", dtype=number, shape=[-1, 1], unit="words, -1 for 0, 1 for 40"),),
        draw=draw,
    )
