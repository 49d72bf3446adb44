"""Writes a digits run as a bundle of the image task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muserve.configuration import build
from muserve.v1 import common_pb2, image_pb2, manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, write_bundle
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import load_data
from muserve_export.families.digits.model import Generator
from muserve_export.training.run import RunFolder, read_checkpoint
from muserve_server.local import LocalModel

__all__ = ["export_digits"]

_GOLDEN_TOLERANCE = 1e-4
_SHEET_SAMPLES = 64


def export_digits(
    run: RunFolder,
    destination: Path,
    *,
    name: str,
    version: int | None = None,
    measure: Callable[[Path], Sequence[manifest_pb2.Metric]] | None = None,
) -> Path:
    """Writes the newest checkpoint of a run as models/<name>/<version>.

    Args:
        run: A trained run.
        destination: The folder of all bundles.
        name: Name of the model.
        version: Positive and new; None takes one more than the newest.
        measure: Measures the bundle for its manifest and card.

    Returns:
        The bundle's folder.

    Raises:
        ExportError: The run, the name or the version cannot be used, or the graph is not what was trained.
    """
    config = build(DigitsConfig, run.values())
    checkpoint = read_checkpoint(run.path)
    generator = Generator(config)
    generator.load_state_dict(checkpoint["generator"])
    generator.eval()
    plan = BundlePlan(
        manifest=_manifest(config),
        graphs=[_graph(generator, config)],
        training={"family": "digits", "recipe": run.path.name, "steps": checkpoint["step"], **run.values()},
        goldens=[
            manifest_pb2.GoldenRequest(
                name="sheet",
                tolerance=_GOLDEN_TOLERANCE,
                generate_images=image_pb2.GenerateImagesRequest(
                    count=16, seed=0, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET
                ),
            ),
            manifest_pb2.GoldenRequest(
                name="one",
                tolerance=_GOLDEN_TOLERANCE,
                generate_images=image_pb2.GenerateImagesRequest(count=1, seed=2**64 - 1, first_sample=2**53 - 1),
            ),
        ],
        samples=_samples,
        measure=measure,
    )
    return write_bundle(plan, destination, name=name, version=version)


def _manifest(config: DigitsConfig) -> manifest_pb2.ModelManifest:
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_IMAGE,
        description=f"Draws {config.image_size}×{config.image_size} images: a GAN of dense layers, without labels.",
        training_data=[load_data(config).source],
        licence="Apache-2.0",
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
        ),
    )


def _graph(generator: Generator, config: DigitsConfig) -> GraphSource:
    float32 = manifest_pb2.DATA_TYPE_FLOAT32

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[np.float32]]:
        return (random.standard_normal((rows, config.latent_size), dtype=np.float32),)

    return GraphSource(
        role="generator",
        module=generator,
        inputs=(
            manifest_pb2.TensorSpec(
                name="latent", dtype=float32, shape=[-1, config.latent_size], unit="standard normal"
            ),
        ),
        outputs=(manifest_pb2.TensorSpec(name="image", dtype=float32, shape=[-1, *generator.shape], unit="[-1, 1]"),),
        draw=draw,
    )


async def _samples(model: LocalModel) -> Mapping[str, bytes]:
    request = image_pb2.GenerateImagesRequest(count=_SHEET_SAMPLES, seed=0, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET)
    return {"sheet.png": (await model.answer(request)).images[0].png}
