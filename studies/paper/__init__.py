"""The paper's experiments, repeated; each number is shown with the published one."""
