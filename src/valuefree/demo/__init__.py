"""The data, reward function and models of ``valuefree demo``."""
