"""The paper's experiments, each number beside the published one."""
