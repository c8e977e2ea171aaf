"""Language models: load them, their log-probabilities of responses, value networks, reward models."""
