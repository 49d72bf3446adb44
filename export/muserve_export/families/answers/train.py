"""Trains a reader and a writer by maximum likelihood, then also against a discriminator of the written answers.

By likelihood: what is answerable, where the evidence is, and each next token. Then the writer writes by itself, and a
discriminator says how much less like a person's answer that is than the true one (Jolicoeur-Martineau, "The
relativistic discriminator", 2018; Nie et al., "RelGAN", 2019), through Gumbel-softmax; the likelihood stays. Now and
then answers to validation questions are written and measured; what was best is kept, and learning stops when they get
worse.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, pad, softplus

from muserve_export.errors import RunError
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.data import AnswersData, RowSet
from muserve_export.families.answers.examples.rows import Batch
from muserve_export.families.answers.measure.scoring import token_f1s
from muserve_export.families.answers.model import Reader, Reading, Writer
from muserve_export.families.answers.networks.critic import Critic
from muserve_export.families.answers.networks.decoding import decode_greedily, sample_soft
from muserve_export.training.networks import TrainedNetwork, learn_together, modules_of, optimizers_of
from muserve_export.training.schedules import warm_up_cosine
from muserve_server.tasks.answer.text import NOTHING, PADDING, UNKNOWN, TextCodec

__all__ = ["AnswersLearner", "likelihood_losses", "make_learner"]

_NEVER = -1e4
_MAX_GRADIENT_NORM = 5.0
_LOSSES = ("likelihood_loss", "answerable_loss", "evidence_loss", "adversarial_loss", "critic_loss")
_SHOWN_AT_ONCE = 64


class AnswersLearner:
    """Reader, writer and discriminator with their optimizers; see `training.loop.Learner`."""

    def __init__(
        self, fabric: Fabric, config: AnswersConfig, tokenizer: str, validation: tuple[Tensor, ...] | None = None
    ) -> None:
        """Builds the networks.

        Args:
            fabric: Launched.
            config: How.
            tokenizer: JSON of the vocabulary.
            validation: A `Batch` of rows with answers to choose weights by; None keeps the newest.
        """
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        self._validation = Batch(*(fabric.to_device(each) for each in validation)) if validation else None
        vocabulary = TextCodec(tokenizer).size
        self._vocabulary = torch.tensor(list(hashlib.sha256(tokenizer.encode()).digest()), dtype=torch.uint8)
        networks: dict[str, nn.Module] = {"reader": Reader(config, vocabulary), "writer": Writer(config, vocabulary)}
        self._best = _Best(networks, self._vocabulary).to(fabric.device)
        networks["critic"] = Critic(config, vocabulary)
        rates = {"critic": config.critic_learning_rate}
        self._reader, self._writer, self._critic = self._all = tuple(
            TrainedNetwork(
                fabric, name, module, torch.optim.Adam(module.parameters(), lr=rates.get(name, config.learning_rate))
            )
            for name, module in networks.items()
        )
        self._writer.network.mark_forward_method("go_on")

    def modules(self) -> Mapping[str, Any]:
        """Networks by name; "best" has the weights that are exported."""
        return {**modules_of(self._all), "best": self._best}

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of(self._all)

    def sheet(self) -> NDArray[np.uint8] | None:
        """Returns None: there is no picture of texts."""
        return None

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Trains on one batch; does nothing after early stopping."""
        if step == int(self._config.adversary_from * steps) + 1:
            self._best.forget()  # what is exported is what the discriminator had a part in
        nothing = torch.zeros((), device=self._fabric.device)
        losses = dict.fromkeys(_LOSSES, nothing)
        if not self._best.has_fallen(self._config.patience):
            share = warm_up_cosine(step / steps, warm_up_share=max(self._config.warm_up_share, 1 / steps))
            for network in (self._reader, self._writer):
                network.scale_learning_rate(share)
            losses |= self._learn(Batch(*batch), is_judged=step > self._config.adversary_from * steps)
            if step % self._config.validate_every_steps == 0 or step == steps:
                self._validate(step, counts=step > self._config.adversary_from * steps)
        losses["validation_f1"] = self._best.last.clone()
        return {name: value.detach() for name, value in losses.items()}

    def _learn(self, rows: Batch, *, is_judged: bool) -> dict[str, Tensor]:
        losses, read = likelihood_losses(self._reader, self._writer, rows, self._config)
        loss = losses["likelihood_loss"] + self._config.reading_weight * (
            losses["answerable_loss"] + losses["evidence_loss"]
        )
        if not is_judged or not bool((rows.answerable > 0).any()):
            learn_together((self._reader, self._writer), loss, clip_norm=_MAX_GRADIENT_NORM)
            return losses
        adversarial, judge_again = self._judge(rows, read)
        loss = loss + self._config.adversary_weight * adversarial
        learn_together((self._reader, self._writer), loss, clip_norm=_MAX_GRADIENT_NORM)
        critical = judge_again()
        self._critic.learn(critical, clip_norm=_MAX_GRADIENT_NORM)
        return {**losses, "adversarial_loss": adversarial, "critic_loss": critical}

    def _judge(self, rows: Batch, read: Reading) -> tuple[Tensor, Callable[[], Tensor]]:
        """Samples answers and scores them; returns the writer's loss and a function for the discriminator's."""
        critic, writer = self._critic.network, self._writer.network
        chosen = rows.answerable > 0
        source = torch.cat([rows.question, rows.passage], dim=1)[chosen]
        reading = Reading(*(part[chosen] for part in read))
        noise = torch.randn(len(source), self._config.latent_size, device=source.device)
        max_tokens = self._config.adversary_tokens
        drawn = sample_soft(writer, reading, source, noise, max_tokens, self._config.temperature)
        true = rows.wanted[chosen][:, :max_tokens]

        def compare(worded: Tensor, picked: Tensor) -> Tensor:
            """Returns how much higher the discriminator scores true answers than sampled ones: [row]."""
            made = worded @ critic.embed.weight + picked @ critic.embed(source)
            judged: Tensor = critic(critic.embed(true), true != PADDING, source) - critic(made, drawn.is_there, source)
            return judged

        critic.requires_grad_(requires_grad=False)
        adversarial = softplus(compare(drawn.worded, drawn.picked)).mean()
        critic.requires_grad_(requires_grad=True)
        return adversarial, lambda: softplus(-compare(drawn.worded.detach(), drawn.picked.detach())).mean()

    def begin_anew(self) -> None:
        """Forgets the validation figures of the run that the weights come from.

        Raises:
            RunError: That run had another vocabulary.
        """
        if not torch.equal(self._best.vocabulary.cpu(), self._vocabulary):
            raise RunError(
                "init_from: that run was trained with another vocabulary, so its weights do not fit; train on "
                "the same data, or from scratch"
            )
        self._best.forget()

    def _validate(self, step: int, *, counts: bool) -> None:
        """Validates, and keeps the weights if they are the best so far."""
        networks = {each.name: each.best for each in (self._reader, self._writer)}
        if self._validation is None:
            self._best.keep(networks, 0.0, step, counts=False)
            return
        for network in networks.values():
            network.eval()
        score = measure(networks["reader"], networks["writer"], self._validation, self._config)
        for network in networks.values():
            network.train()
        self._best.keep(networks, score, step, counts=counts)


class _Best(nn.Module):
    """The best weights so far, with their validation figure."""

    score: Tensor
    last: Tensor
    falls: Tensor
    step: Tensor
    vocabulary: Tensor

    def __init__(self, networks: Mapping[str, nn.Module], vocabulary: Tensor) -> None:
        super().__init__()
        self.reader = copy.deepcopy(networks["reader"]).requires_grad_(requires_grad=False)
        self.writer = copy.deepcopy(networks["writer"]).requires_grad_(requires_grad=False)
        self.register_buffer("score", torch.tensor(-1.0))
        self.register_buffer("last", torch.tensor(0.0))
        self.register_buffer("falls", torch.tensor(0))
        self.register_buffer("step", torch.tensor(0))
        self.register_buffer("vocabulary", vocabulary.clone())

    def forget(self) -> None:
        """Forgets the best figure: the next one is kept."""
        self.score.fill_(-1.0)
        self.falls.zero_()

    def keep(self, networks: Mapping[str, nn.Module], score: float, step: int, *, counts: bool) -> None:
        """Records a figure; keeps the weights if it is the best, else counts towards early stopping if it `counts`."""
        self.last.fill_(score)
        if score >= float(self.score):
            self.score.fill_(score)
            self.step.fill_(step)
            self.falls.zero_()
            self.reader.load_state_dict(networks["reader"].state_dict())
            self.writer.load_state_dict(networks["writer"].state_dict())
        elif counts:
            self.falls += 1

    def has_fallen(self, patience: int) -> bool:
        """Returns whether the figure has been below the best for `patience` checks in a row."""
        return int(self.falls) >= patience


def measure(reader: nn.Module, writer: nn.Module, rows: Batch, config: AnswersConfig) -> float:
    """Returns the mean token F1 of answers decoded greedily, without noise."""
    scores: list[float] = []
    with torch.no_grad():
        for first in range(0, len(rows.question), _SHOWN_AT_ONCE):
            part = Batch(*(each[first : first + _SHOWN_AT_ONCE] for each in rows))
            source = torch.cat([part.question, part.passage], dim=1)
            noise = torch.zeros(len(source), config.latent_size, device=source.device)
            read = reader(part.question, part.passage)
            written = decode_greedily(writer, read, source, noise, config.answer_tokens)
            scores += token_f1s(written.tolist(), part.wanted.tolist())
    return float(np.mean(scores))


def likelihood_losses(
    reader: Any, writer: Any, batch: Batch, config: AnswersConfig
) -> tuple[dict[str, Tensor], Reading]:
    """Computes the likelihood losses of a batch.

    Args:
        reader: A Reader.
        writer: A Writer.
        batch: The rows.
        config: Size of the noise.

    Returns:
        Means: of the negative logarithm of each wanted token's likelihood, of the cross-entropies of answerability and
        of the evidence's two ends; and what was read.
    """
    read: Reading = reader(batch.question, batch.passage)
    source = torch.cat([batch.question, batch.passage], dim=1)
    noise = torch.randn(len(source), config.latent_size, device=source.device)
    words, copies, _, _ = writer(batch.written, batch.places, noise, (read.memory, read.hidden, read.cell), source)
    # A token is written if it is worded, or copied from wherever it stands.
    is_it = source[:, None] == batch.wanted[..., None]  # [row, step, source token]
    worded = words.gather(2, batch.wanted[..., None])
    # What is unknown is like all else that is: it counts from where it is copied alone, and cannot be worded.
    is_unknown = batch.wanted == UNKNOWN
    copied_from = pad(batch.places[:, 1:], (0, 1), value=NOTHING)
    exactly = torch.arange(source.shape[1], device=source.device) == copied_from[..., None]
    is_it = torch.where(is_unknown[..., None], exactly, is_it)
    worded = worded.masked_fill(is_unknown[..., None], _NEVER)
    each = torch.cat([worded, copies.masked_fill(~is_it, _NEVER)], dim=2).logsumexp(2)
    is_wanted = (batch.wanted != PADDING) & ~(is_unknown & (copied_from == NOTHING))
    has_evidence = batch.start != NOTHING
    evidence = torch.zeros((), device=source.device)
    if has_evidence.any():
        evidence = (
            cross_entropy(read.start[has_evidence], batch.start[has_evidence])
            + cross_entropy(read.end[has_evidence], batch.end[has_evidence])
        ) / 2
    losses = {
        "likelihood_loss": -each[is_wanted].sum() / is_wanted.sum().clamp(min=1),
        "answerable_loss": binary_cross_entropy_with_logits(read.answerable, batch.answerable),
        "evidence_loss": evidence,
    }
    return losses, read


def make_learner(fabric: Fabric, config: AnswersConfig, data: AnswersData) -> tuple[AnswersLearner, RowSet]:
    """Builds the networks and the rows that they learn from."""
    return AnswersLearner(fabric, config, data.vocabulary, data.validation), data.training
