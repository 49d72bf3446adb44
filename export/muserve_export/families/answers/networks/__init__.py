"""The networks besides reader and writer, and how answers are decoded."""
