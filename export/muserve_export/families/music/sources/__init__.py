"""What music is learnt from: songs out of Freedoom's WADs, chord charts that MMA plays, scores of music21's corpus."""

from muserve_export.families.music.sources.collection import INDEX, Collected, Source, StyleCount, collect_music

__all__ = ["INDEX", "Collected", "Source", "StyleCount", "collect_music"]
