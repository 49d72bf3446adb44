"""The music task: noise and styles in, MIDI out; or a MIDI file in, and the same with more tracks out."""

from muserve_server.tasks.music.task import MusicTask

__all__ = ["MusicTask"]
