"""Public feedback sets: how each lays out its rows, which releases carry which fault, and what was found in one."""
