"""The small world: tiny language models, a reward that is a program, every method tuned alike."""
