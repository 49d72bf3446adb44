"""Calls for answers to questions, and questions that a text answers."""
