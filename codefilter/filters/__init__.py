"""Which of the retrieved chunks reach the prompt."""
