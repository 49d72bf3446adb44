"""Calls for images: noise and labels in, PNG out."""
