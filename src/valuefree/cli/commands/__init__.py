"""What the verbs of the command line do: options in, the Python API, a line or a file out. Most import torch."""
