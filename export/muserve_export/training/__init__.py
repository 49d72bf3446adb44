"""What every family's training shares: the loop, checkpoints and resume, the metrics log and its plot, progress."""
