"""Answers and questions from a real server, through both skins and the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from muserve_client import Answers, Client, InvalidRequestError, Questions
from muserve_client.cli import main
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call

CONTEXT = "A lamp is a thing.\n\nAnn Lee was its inventor."


@both_skins
def test_a_question_is_answered_from_the_corpus(skin: Skin, answerer: Served) -> None:
    found = call(skin, answerer.target, "ask", "What is a lantren?", count=3, seed=4, request_id="my-call")
    assert isinstance(found, Answers)
    assert (found.is_answerable, found.question_read, len(found)) == (True, "What is a lantern?", 3)
    assert found.source is not None
    assert (found.source.title, found.source.aliases, found.source.corpus) == ("lantern", ("hand lamp",), "things")
    assert found.text == str(found) == str(found[0]) == found.answers[0].text
    evidence = found[0].evidence
    assert evidence is not None
    assert found.source.text[evidence.start : evidence.end] == evidence.text
    assert [answer.sample for answer in found] == [0, 1, 2]
    assert (found.info.seed, found.info.request_id, found.info.model) == (4, "my-call", "copies")


@both_skins
def test_a_question_is_answered_from_a_text(skin: Skin, answerer: Served) -> None:
    found = call(skin, answerer.target, "ask", "inventor?", CONTEXT, max_tokens=2)
    assert found.text == "Ann Lee"
    assert found.source is None
    assert found[0].evidence.text == "Ann Lee was its inventor."
    assert not call(skin, answerer.target, "ask", "brush", CONTEXT).is_answerable
    assert call(skin, answerer.target, "ask", "brush", CONTEXT).text == ""


@both_skins
def test_a_text_is_asked_about(skin: Skin, answerer: Served) -> None:
    found = call(skin, answerer.target, "questions", CONTEXT, count=4, seed=1)
    assert isinstance(found, Questions)
    assert [pair.kind for pair in found] == ["lamp", "inventor"]
    for pair in found[:]:
        assert CONTEXT[pair.evidence.start : pair.evidence.end] == pair.evidence.text
    assert (found.rejected, found.info.seed) == (0, 1)


def test_what_no_request_can_carry_is_refused_here(answerer: Served) -> None:
    with Client(answerer.target) as client:
        with pytest.raises(InvalidRequestError) as caught:
            client.ask(7, b"text", count=-1)  # type: ignore[arg-type]
        assert [violation.field for violation in caught.value.violations] == ["question", "context", "count"]
        with pytest.raises(InvalidRequestError, match="lone surrogates"):
            client.questions("\ud800")
        with pytest.raises(InvalidRequestError, match="question: is empty"):
            client.ask("")


@pytest.fixture
def at_server(answerer: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MUSERVE_SERVER", answerer.target)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text(CONTEXT, encoding="utf-8")
    return tmp_path


def test_ask_prints_the_answer(at_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "gRPC?"]) == 0
    said = capsys.readouterr()
    assert (
        said.out == "GRPC: gRPC is a way to call a server.\n" or said.out == "gRPC: gRPC is a way to call a server.\n"
    )
    assert said.err == "[gRPC (things), answerable 1.00; model copies, version 1]\n"
    assert main(["ask", "inventor", "--context", "notes.txt", "--count", "2", "--seed", "3"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "Ann Lee was its inventor."
    assert said.err == "[answerable 1.00; model copies, version 1, seed 3]\n"


def test_ask_says_that_it_does_not_know(at_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "nodejs"]) == 0
    assert capsys.readouterr().out.startswith("I don't know.\nNearest: Node.js")


def test_answers_as_json(at_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "inventor", "--context", "notes.txt", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["answers"][0]["evidence"] == {"text": "Ann Lee was its inventor.", "start": 20, "end": 45}
    assert (found["is_answerable"], found["source"], found["model"]) == (True, None, "copies")


def test_questions_are_printed(
    at_server: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["questions", "notes.txt", "--count", "10", "--seed", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:2] == ["A lamp is a thing.", "  A lamp is a thing."]
    assert said.err == "[2 questions, 0 left out; model copies, version 1, seed 1]\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONTEXT.encode())))
    assert main(["questions", "-", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["kind"] for row in rows] == ["lamp", "inventor"]
    assert rows[0]["evidence"]["text"] == "A lamp is a thing."


def test_texts_that_cannot_be_read_are_explained(at_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["questions", "nothing.txt"]) == 1
    assert "nothing.txt: No such file" in capsys.readouterr().err
    Path("latin.txt").write_bytes(b"caf\xe9")
    assert main(["questions", "latin.txt"]) == 2
    assert "latin.txt is not UTF-8" in capsys.readouterr().err


def test_verify_proves_answers_and_questions(at_server: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--model", "copies"]) == 0
    assert "copies" in capsys.readouterr().out
