"""The music task: noise and styles in, MIDI out; or a MIDI file in, and more tracks to it out."""
