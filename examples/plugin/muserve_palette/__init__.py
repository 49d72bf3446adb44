"""Colour palettes for mood words: a task kind, a family and calls of Muserve, all in this package."""
