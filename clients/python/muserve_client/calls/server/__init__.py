"""Calls about the server itself: its models, whether it is ready, whether it is deterministic."""
