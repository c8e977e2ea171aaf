"""Faults that are made on purpose, and what the commands do about them: `python -m faults`."""
