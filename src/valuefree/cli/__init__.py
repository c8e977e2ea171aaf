"""The command line: options are parsed, a command of the Python API runs, and what it found is printed."""
