"""Structured logs: one JSON object a line on standard error, or text for people."""

from __future__ import annotations

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

__all__ = ["configure_logging"]

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class _TextFormatter(logging.Formatter):
    """The message, then the extra fields as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        line, newline, rest = super().format(record).partition("\n")  # the fields come before a traceback
        return " ".join([line, *(f"{key}={value}" for key, value in fields.items())]) + newline + rest


def configure_logging(level: str, style: str) -> None:
    """Sends this process's logs to standard error.

    Args:
        level: "debug", "info", "warning" or "error".
        style: "json" or "text".
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
        if style == "json"
        else _TextFormatter("%(asctime)s %(levelname)-7s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
