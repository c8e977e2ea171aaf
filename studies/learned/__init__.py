"""What held-out rows of a log say about a policy, beside what it truly gained, where that is known."""
