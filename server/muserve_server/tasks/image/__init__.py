"""The image task: noise and labels in, PNG out."""
