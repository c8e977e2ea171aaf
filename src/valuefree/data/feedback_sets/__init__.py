"""Public feedback sets: the layout of their rows, releases with known faults, and a report of the counts."""
