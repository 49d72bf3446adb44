"""Requests in JSON: read strictly, and what is wrong is named."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from muserve.errors import InvalidRequestError
from muserve.v1 import forecast_pb2, image_pb2, translation_pb2
from muserve_server.fronts.json_requests import read_json


def read_image(data: bytes) -> Any:
    return read_json(data, image_pb2.GenerateImagesRequest())


@given(
    seed=st.integers(0, 2**64 - 1),
    labels=st.lists(st.text(max_size=10), max_size=4),
    image=st.binary(max_size=100),
    camel=st.booleans(),
)
def test_what_protobuf_writes_is_read_back(seed: int, labels: list[str], image: bytes, camel: bool) -> None:
    wanted = image_pb2.GenerateImagesRequest(seed=seed, labels=labels, truncation=0.5, count=7)
    text = json_format.MessageToJson(wanted, preserving_proto_field_name=not camel)
    assert read_image(text.encode()) == wanted
    file = translation_pb2.TranslateImageRequest(image=image, target="map")
    assert (
        read_json(json_format.MessageToJson(file).encode(), translation_pb2.TranslateImageRequest()) == file
    )  # fmt: skip


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"{}"])
def test_nothing_is_an_empty_message(data: bytes) -> None:
    assert read_image(data) == image_pb2.GenerateImagesRequest()


@pytest.mark.parametrize("write", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64_are_read_with_padding_or_without(write: Any) -> None:
    content = bytes(range(256))
    for text in (write(content).decode(), write(content).decode().rstrip("=")):
        request = read_json(json.dumps({"image": text}).encode(), translation_pb2.TranslateImageRequest())
        assert request.image == content


@pytest.mark.parametrize("number", [7, "7", 7.0])
def test_64_bit_numbers_may_be_strings_or_numbers(number: Any) -> None:
    assert read_image(json.dumps({"seed": number}).encode()).seed == 7


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff{}", "the body is not JSON"),
        (b'{"seed": 1} x', "the body is not JSON"),
        (b'{"seed": 1, "seed": 2}', "the body is not JSON .*twice"),
        (b"[]", "not a JSON object; .*GenerateImagesRequest"),
        (b"null", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"labels": ' + b"[" * 900 + b"]" * 900 + b"}", "labels"),
        (b'{"sed": 1}', 'no field named "sed"'),
        (b'{"layout": "IMAGE_LAYOUT_ROUND"}', "IMAGE_LAYOUT_ROUND"),
        (b'{"count": "many"}', "many"),
        (b'{"count": 1.5}', "count"),
        (b'{"count": -1}', "-1"),
        (b'{"seed": 18446744073709551616}', "18446744073709551616"),
        (b'{"labels": "cat"}', "labels"),
        (b'{"labels": [1]}', "labels"),
        (b'{"count": true}', "count"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=text):
        read_image(data)


def test_names_of_enums_are_read() -> None:
    assert read_image(b'{"layout": "IMAGE_LAYOUT_CONTACT_SHEET"}').layout == image_pb2.IMAGE_LAYOUT_CONTACT_SHEET


@pytest.mark.parametrize("value", ["no base64!", "QUJD\n", "A", 7, {}, True])
def test_broken_base64_is_a_violation_of_its_field(value: Any) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_json(json.dumps({"image": value}).encode(), translation_pb2.TranslateImageRequest())
    (violation,) = caught.value.violations
    assert violation.field.startswith("image")
    assert "is not base64" in violation.description


def test_each_broken_base64_is_named_with_its_place() -> None:
    from muserve.inference import infer_pb2

    body = {"raw_input_contents": ["QUJD", "!"], "inputs": [{}, {"contents": {"bytesContents": ["QUJD", "QQ", "?"]}}]}
    with pytest.raises(InvalidRequestError) as caught:
        read_json(json.dumps(body).encode(), infer_pb2.ModelInferRequest())
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["raw_input_contents[1]", "inputs[1].contents.bytes_contents[2]"]


def test_gaps_of_a_series_are_read_as_protobuf_writes_them() -> None:
    request = read_json(b'{"series": [{"values": [1, "NaN", 2.5]}], "horizon": 3}', forecast_pb2.ForecastRequest())
    values = request.series[0].values
    assert (values[0], values[2]) == (1.0, 2.5)
    assert values[1] != values[1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.sampled_from(["model", "seed", "labels", "count", "x"]), children)
        ),
    )
)
def test_whatever_comes_is_read_or_refused(content: Any) -> None:
    read = False
    with suppress(InvalidRequestError):
        read_image(json.dumps(content).encode())
        read = True
    assert not read or isinstance(content, dict)
