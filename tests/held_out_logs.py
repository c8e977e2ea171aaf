"""Simulated logs for the tests of held-out measures."""

import numpy as np

from valuefree.evaluation.held_out import LoggedRows


def rows_of(logratios, rewards, prompt_of=None, lengths=None, features=None):
    """Rows from lists; one prompt and equal lengths unless given."""
    size = len(rewards)
    prompt_of = np.zeros(size, dtype=int) if prompt_of is None else np.asarray(prompt_of)
    lengths = np.full(size, 10) if lengths is None else np.asarray(lengths)
    return LoggedRows(np.asarray(logratios, float), np.asarray(rewards, float), prompt_of, lengths, features)


def gaussian_rows(prompts, responses, *, correlation=0.4, kl=0.1, seed=0, between=0.7):
    """Log-normal weights of mean 1, and rewards that correlate with the log-ratio within a prompt."""
    generator = np.random.default_rng(seed)
    standard = generator.normal(size=(prompts, responses))
    noise = np.sqrt(1 - correlation**2) * generator.normal(size=(prompts, responses))
    rewards = correlation * standard + noise + between * generator.normal(size=(prompts, 1))
    prompt_of = np.repeat(np.arange(prompts), responses)
    lengths = generator.integers(5, 100, prompts * responses)
    return rows_of((np.sqrt(2 * kl) * standard - kl).ravel(), rewards.ravel(), prompt_of, lengths)
