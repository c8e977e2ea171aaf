"""The paper's tables and figure under this package's protocol, beside the numbers that it printed."""
