"""Writes a digits run as a bundle of the image task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from muserve.v1 import common_pb2, image_pb2, manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import DigitsData
from muserve_export.families.digits.model import make_networks
from muserve_export.families.digits.train import sheet_labels
from muserve_export.training.trained import TrainedModel
from muserve_server.model import LocalModel

__all__ = ["plan_bundle"]

_GOLDEN_TOLERANCE = 1e-4


def plan_bundle(trained: TrainedModel[DigitsConfig, DigitsData]) -> BundlePlan:
    """Plans a bundle of the image task: the generator alone."""
    config, data = trained.config, trained.data
    generator = trained.load(make_networks(config, len(data.labels))[0], "generator")
    return BundlePlan(
        manifest=_manifest(config, data),
        graphs=[_graph(generator, config, data)],
        goldens=_goldens(),
        samples=_samples,
    )


def _goldens() -> list[manifest_pb2.GoldenRequest]:
    """A sheet of seed 0, and one image at the far end of seeds and samples."""
    sheet = image_pb2.GenerateImagesRequest(count=16, seed=0, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET)
    one = image_pb2.GenerateImagesRequest(count=1, seed=2**64 - 1, first_sample=2**53 - 1)
    return [
        manifest_pb2.GoldenRequest(name=name, tolerance=_GOLDEN_TOLERANCE, generate_images=request)
        for name, request in (("sheet", sheet), ("one", one))
    ]


def _manifest(config: DigitsConfig, data: DigitsData) -> manifest_pb2.ModelManifest:
    conditional = config.architecture == "convolutional"
    how = f"of {len(data.labels)} labels" if conditional else "without labels"
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_IMAGE,
        description=f"Draws {config.image_size}×{config.image_size} images {how}: a {config.architecture} GAN.",
        training_data=[data.source],
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        image=manifest_pb2.ImageSettings(
            graph="generator",
            latent_input="latent",
            latent_size=config.latent_size,
            image_output="image",
            height=config.image_size,
            width=config.image_size,
            channels=config.channels,
            black=-1.0,
            white=1.0,
            labels=data.labels if conditional else (),
            label_input="label" if conditional else "",
            truncation_input="truncation" if conditional else "",
        ),
    )


def _graph(generator: nn.Module, config: DigitsConfig, data: DigitsData) -> GraphSource:
    inputs = [tensor_spec("latent", [config.latent_size], "standard normal")]
    if config.architecture == "convolutional":
        inputs.append(tensor_spec("label", [], "label index", manifest_pb2.DATA_TYPE_INT64))
        inputs.append(tensor_spec("truncation", [], "above 0 up to 1"))

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        latent = random.standard_normal((rows, config.latent_size), dtype=np.float32)
        label = random.integers(0, len(data.labels), rows)
        truncation = random.uniform(0.5, 1.0, rows).astype(np.float32)
        return (latent, label, truncation)[: len(inputs)]

    return GraphSource(
        role="generator",
        module=generator,
        inputs=tuple(inputs),
        outputs=(tensor_spec("image", [config.channels, config.image_size, config.image_size], "[-1, 1]"),),
        draw=draw,
    )


async def _samples(model: LocalModel) -> Mapping[str, bytes]:
    """Draws an uncurated sheet of seed 0; a column a label."""
    labels = list(model.bundle.manifest.image.labels)
    shown = sheet_labels(len(labels))
    request = image_pb2.GenerateImagesRequest(count=len(shown), seed=0, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET)
    request.labels.extend(labels[index] for index in shown if labels)
    return {"sheet.png": (await model.answer(request)).images[0].png}
