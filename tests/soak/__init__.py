"""Faults injected into real training runs: `python -m tests.soak --help`."""
