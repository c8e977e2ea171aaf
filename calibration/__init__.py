"""How often intervals hold the truth, and what judges say, on simulated and on real judgements."""
