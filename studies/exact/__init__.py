"""The exact world: policies over T tokens for which Z, V*, π*, E r and KL have closed forms."""
