"""The translation task: an image in, the same image as the other domain would show it out, as PNG."""
