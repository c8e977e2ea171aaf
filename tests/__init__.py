"""A regular package: otherwise the folder ``tests`` that a dependency (textstat) installs is imported in its place."""
