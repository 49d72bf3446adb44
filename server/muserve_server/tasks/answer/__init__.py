"""Questions and answers: what is read, and what is said of it."""
