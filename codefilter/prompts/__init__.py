"""From a place in a file and kept chunks to what the model reads."""
