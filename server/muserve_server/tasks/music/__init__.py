"""The music task: noise and styles in, MIDI out; or a MIDI file in, and the same with more tracks out."""
