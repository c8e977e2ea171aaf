"""The folder of a run: its manifest, writing and reading its files, and which files belong to the run."""
