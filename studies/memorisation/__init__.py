"""What narrows the gap between the ranking of training rows and of held-out rows, and at what true gain."""
