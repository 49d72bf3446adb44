"""Images from a real server, through both skins."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from muserve_client import AsyncClient, Client, Images, InvalidRequestError, __version__
from tests.bundles import HEIGHT, WIDTH
from tests.client.conftest import LABELS, Served
from tests.client.fakes import Skin, both_skins, call


def pngs(images: Images) -> list[bytes]:
    return [image.png for image in images]


@both_skins
def test_separate_images_say_who_made_them(skin: Skin, served: Served) -> None:
    images = call(skin, served.target, "images", 3, labels=[*LABELS], seed=7, request_id="my-call")
    assert len(images) == 3
    assert images.sheet is None
    assert [(image.width, image.height, image.sample) for image in images] == [(WIDTH, HEIGHT, i) for i in range(3)]
    assert [image.labels for image in images] == [(label,) for label in LABELS]
    info = images.info
    assert (info.model, info.version, info.seed) == ("shapes", 1, 7)
    assert (info.request_id, info.server_version) == ("my-call", __version__)
    assert info.batch_rows >= 3
    assert info.timings.compute_s > 0
    assert info.timings.encode_s > 0
    assert info.timings.queue_s >= 0


@both_skins
def test_a_file_says_how_it_was_made(skin: Skin, served: Served) -> None:
    images = call(skin, served.target, "images", labels="circle", seed=2**64 - 1, truncation=0.5, first_sample=9)
    facts = images[0].facts
    assert (facts["model"], facts["version"], facts["digest"]) == ("shapes", 1, images.info.digest)
    assert (facts["seed"], facts["sample"], facts["label"], facts["truncation"]) == (2**64 - 1, 9, "circle", 0.5)


@both_skins
def test_a_sheet_is_the_one_image(skin: Skin, served: Served) -> None:
    images = call(skin, served.target, "images", 4, labels="square", seed=1, sheet=True)
    assert len(images) == 1
    assert images.sheet is images[0]
    assert (images.sheet.width, images.sheet.height) == (2 * WIDTH + 2, 2 * HEIGHT + 2)
    assert images.sheet.labels == ("square",) * 4


@both_skins
def test_the_drawn_seed_makes_the_same_images_again(skin: Skin, served: Served) -> None:
    first = call(skin, served.target, "images", 2)
    assert pngs(call(skin, served.target, "images", 2, seed=first.info.seed)) == pngs(first)
    assert pngs(call(skin, served.target, "images", 2, seed=first.info.seed + 1)) != pngs(first)


def test_both_skins_get_the_same_bytes_and_a_sample_alone_too(served: Served) -> None:
    sync, asynchronous = (call(skin, served.target, "images", 8, seed=5) for skin in (Client, AsyncClient))
    assert pngs(sync) == pngs(asynchronous)
    alone = call(Client, served.target, "images", 1, seed=5, first_sample=6)
    assert pngs(alone) == pngs(sync)[6:7]


@both_skins
def test_model_and_version_choose(skin: Skin, served: Served) -> None:
    newest = call(skin, served.target, "images", seed=1, model="plain")
    oldest = call(skin, served.target, "images", seed=1, model="plain", version=1)
    assert (newest.info.version, oldest.info.version) == (2, 1)
    assert pngs(newest) != pngs(oldest)


@both_skins
def test_labels_alone_give_the_count(skin: Skin, served: Served) -> None:
    assert len(call(skin, served.target, "images", labels=("circle", "square"))) == 2
    assert len(call(skin, served.target, "images")) == 1


@both_skins
def test_numpy_integers_are_integers(skin: Skin, served: Served) -> None:
    images = call(skin, served.target, "images", np.int64(2), seed=np.uint64(2**63), truncation=np.float32(0.5))
    assert len(images) == 2
    assert images.info.seed == 2**63


@both_skins
@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"seed": -1}, "seed", "-1"),
        ({"seed": 2**64}, "seed", "2^64 - 1"),
        ({"seed": 1.5}, "seed", "1.5 (float)"),
        ({"seed": "7"}, "seed", "'7' (str)"),
        ({"count": 2**32}, "count", "2^32 - 1"),
        ({"count": True}, "count", "bool"),
        ({"version": -1}, "version", "-1"),
        ({"first_sample": None}, "first_sample", "None"),
        ({"first_sample": 2**64}, "first_sample", "2^64 - 1"),
        ({"truncation": "half"}, "truncation", "'half'"),
        ({"labels": 7}, "labels", "['7']"),
        ({"labels": ["circle", 7]}, "labels[1]", "7 (int)"),
        ({"labels": ["\ud800"]}, "labels[0]", "surrogates"),
        ({"model": None}, "model", "None"),
        ({"timeout_s": 0}, "timeout_s", "above 0"),
        ({"timeout_s": float("inf")}, "timeout_s", "finite"),
        ({"timeout_s": "soon"}, "timeout_s", "a number"),
        ({"request_id": "a\nb"}, "request_id", "printable"),
        ({"request_id": "x" * 129}, "request_id", "128"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(
    skin: Skin, arguments: dict[str, Any], field: str, words: str
) -> None:
    # Port 1: nothing may be sent.
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, "127.0.0.1:1", "images", **arguments)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert words in caught.value.violations[0].description


def test_all_that_cannot_be_sent_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(Client, "127.0.0.1:1", "images", -1, seed=-1, truncation="x")
    assert {violation.field for violation in caught.value.violations} == {"count", "seed", "truncation"}


@both_skins
def test_what_can_be_sent_is_judged_by_the_server(skin: Skin, served: Served) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, served.target, "images", 0, truncation=2.0, labels="cube", request_id="judged")
    assert {violation.field for violation in caught.value.violations} == {"count", "truncation", "labels[0]"}
    assert caught.value.request_id == "judged"


def test_threads_share_a_client(served: Served) -> None:
    with Client(served.target) as client, ThreadPoolExecutor(8) as threads:
        expected = {seed: pngs(client.images(3, seed=seed)) for seed in range(8)}
        answers = threads.map(lambda i: (i % 8, pngs(client.images(3, seed=i % 8))), range(64))
        assert all(expected[seed] == got for seed, got in answers)


async def test_tasks_share_a_client(served: Served) -> None:
    async with AsyncClient(served.target) as client:
        expected = {seed: pngs(await client.images(3, seed=seed)) for seed in range(8)}
        answers = await asyncio.gather(*(client.images(3, seed=i % 8) for i in range(64)))
        assert all(pngs(answer) == expected[i % 8] for i, answer in enumerate(answers))
