"""The contract that server, export and clients share: messages, bundles, errors. No networking, no numbers."""

__all__ = ["__version__"]

__version__ = "0.1.0"
