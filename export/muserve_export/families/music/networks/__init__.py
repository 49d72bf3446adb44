"""The networks of the music family and what they are built of."""
