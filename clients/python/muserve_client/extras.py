"""The packages that the client can do without: where one is missing, says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["extra"]

_EXTRAS = {"pandas": "data", "matplotlib": "data", "pyarrow": "data", "mido": "midi"}


@contextmanager
def extra(what: str) -> Iterator[None]:
    """Names the extra to install if an import inside fails for want of a package.

    Args:
        what: What needs it: "to_frame".

    Raises:
        ModuleNotFoundError: One of the packages of muserve[data] or muserve[midi] is missing.
    """
    try:
        yield
    except ImportError as error:  # pandas raises this for a missing pyarrow
        package = next((name for name in _EXTRAS if name in (error.name or str(error))), None)
        if package is None:
            raise
        text = f"{what} needs {package}, which is not installed: pip install 'muserve[{_EXTRAS[package]}]'"
        raise ModuleNotFoundError(text, name=package) from error
