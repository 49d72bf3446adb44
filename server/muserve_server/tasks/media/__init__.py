"""Codecs that several tasks share. Pure functions."""
