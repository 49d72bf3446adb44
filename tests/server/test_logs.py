"""Log lines that programs read, and ones that people read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from muserve_server.logs import configure_logging


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def log_a_failure() -> None:
    try:
        raise KeyError("lost")
    except KeyError:
        logging.getLogger("muserve_server.x").exception("call failed", extra={"request_id": 'a"b', "rows": 3})


def test_json_is_one_object_a_line_with_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("muserve_server.x").debug("not shown")
    log_a_failure()
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.items() >= {
        "level": "ERROR", "logger": "muserve_server.x", "message": "call failed", "request_id": 'a"b', "rows": 3,
    }.items()  # fmt: skip
    assert record["time"][:2] == "20"
    assert "KeyError: 'lost'" in record["exc_info"]


def test_text_has_the_fields_before_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "text")
    logging.getLogger("muserve_server.x").info("not shown")
    log_a_failure()
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith('ERROR   call failed request_id=a"b rows=3')
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "KeyError: 'lost'"
