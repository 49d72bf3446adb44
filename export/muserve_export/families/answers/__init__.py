"""Questions and answers: reads a context, and answers out of it."""
