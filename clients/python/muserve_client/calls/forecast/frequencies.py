"""The names of frequencies: Muserve's own and those of pandas."""

from __future__ import annotations

import re
from typing import Any

from muserve.configuration import nearest
from muserve.v1 import forecast_pb2
from muserve_client.fields import Fields

__all__ = ["BUSINESS_DAYS", "FREQUENCIES", "frequency_name", "is_business_days", "known_frequency", "read_frequency"]

_PREFIX = "FREQUENCY_"
_NAMES = {name.removeprefix(_PREFIX).lower(): number for name, number in forecast_pb2.Frequency.items() if number != 0}
FREQUENCIES = tuple(_NAMES)
"""Muserve's names, the longest steps first: "yearly"."""
_ALIASES = (
    (re.compile(r"(A|AS|Y|YE|YS|BA|BAS|BY|BYE|BYS)(-[A-Z]{3})?"), "yearly"),
    (re.compile(r"B?(Q|QE|QS)(-[A-Z]{3})?"), "quarterly"),
    (re.compile(r"B?(M|ME|MS)"), "monthly"),
    (re.compile(r"W(-[A-Z]{3})?"), "weekly"),
    (re.compile(r"D"), "daily"),
    (re.compile(r"[hH]"), "hourly"),
)
BUSINESS_DAYS = (
    "which no model supports; give daily dates, so that weekends count as missing, or the values without dates and "
    "frequency='other'"
)
"""What to do with business days, as the end of a message."""

_SHORTEST = ("Y", "Q", "M", "W", "D", "h")  # of each alias, for messages


def frequency_name(number: int) -> str:
    """Names a `muserve.v1.Frequency`: "monthly"; a newer server may know more than this client."""
    return next((name for name, known in _NAMES.items() if known == number), f"unknown-{number}")


def known_frequency(text: str) -> int:
    """Returns the `muserve.v1.Frequency` of one of Muserve's names or a pandas alias: "monthly", "ME", "W-SUN".

    Returns:
        Its number; 0 if there is none, as for "15min" and other multiples.
    """
    name = text.lower().removeprefix(_PREFIX.lower())  # as the server's messages write it
    alias = next((long for pattern, long in _ALIASES if pattern.fullmatch(text)), "")
    return _NAMES.get(name) or _NAMES.get(alias, 0)


def is_business_days(text: str) -> bool:
    """Whether an alias of pandas means business days: "B", "2B", "C"."""
    return re.fullmatch(r"\d*[BC]", text) is not None


def read_frequency(fields: Fields, frequency: Any) -> int:
    """Reads the argument `frequency`.

    Args:
        fields: Records an unknown frequency.
        frequency: A name, a pandas alias or a pandas offset; None for none.

    Returns:
        Its number; 0 for none.
    """
    if frequency is None:
        return 0
    text = fields.text("frequency", getattr(frequency, "freqstr", frequency))
    number = known_frequency(text)
    if is_business_days(text):
        fields.refuse("frequency", f"is {text!r}: business days, {BUSINESS_DAYS}")
    elif text and not number:
        fields.refuse("frequency", f"is {text!r}; {nearest(text, [*_NAMES, *_SHORTEST])}")
    return number
