"""Training examples: questions in many wordings, passages beside them, and answers."""
