"""The answer task: questions and texts in, answers and questions out."""
