"""JSON that is sent to break the reader: refused, never an error of the server's own."""

from __future__ import annotations

import pytest

from muserve.errors import InvalidRequestError
from muserve.v1 import image_pb2
from muserve_server.fronts.json_requests import read_json


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "a\\ud83d", "\\ude00\\ud83d"])
@pytest.mark.parametrize("body", ['{{"{}": 1}}', '{{"layout": "{}"}}', '{{"model": "{}"}}', '{{"labels": ["{}"]}}'])
def test_half_a_surrogate_pair_is_not_json(body: str, half: str) -> None:
    with pytest.raises(InvalidRequestError, match="surrogates not allowed"):
        read_json(body.format(half).encode(), image_pb2.GenerateImagesRequest())


def test_a_whole_pair_is_one_letter() -> None:
    assert read_json(b'{"model": "\\ud83d\\ude00"}', image_pb2.GenerateImagesRequest()).model == "\U0001f600"


def test_a_field_in_both_spellings_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="first_sample: is there twice, as first_sample and firstSample"):
        read_json(b'{"first_sample": 1, "firstSample": 2}', image_pb2.GenerateImagesRequest())


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"labels":['])
def test_what_is_too_deep_is_refused(opening: str) -> None:
    with pytest.raises(InvalidRequestError, match="recursion"):
        read_json((opening * 100_000).encode(), image_pb2.GenerateImagesRequest())
