"""The server at work for hours, in minutes: ``python -m tests.soak``, ``python -m tests.soak.latency``."""
