"""Pairwise comparison of answers by a judge: both orders, strict reading of verdicts, a cache of answers."""
