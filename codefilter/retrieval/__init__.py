"""Which chunks of the repository may matter at a place in a file."""
