"""What generated music is measured by: figures, distances, judges, and tests beside real music."""
