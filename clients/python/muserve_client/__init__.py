"""The Python SDK: images, models and errors of a Muserve server, in typed calls."""
