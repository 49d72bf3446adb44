"""Training examples: questions in many wordings, passages, and answers."""
