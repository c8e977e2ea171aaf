"""The embedded default: feedback rows that the project made itself, and the command that runs them."""
