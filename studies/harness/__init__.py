"""What studies share: controls, worker processes."""
