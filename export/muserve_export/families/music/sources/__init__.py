"""The data of the bundled music model: real songs out of Freedoom's WADs, and chord charts that MMA plays."""

from muserve_export.families.music.sources.collection import INDEX, Collected, Source, StyleCount, collect_music

__all__ = ["INDEX", "Collected", "Source", "StyleCount", "collect_music"]
