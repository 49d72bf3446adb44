"""Calls for music, as MIDI files."""
