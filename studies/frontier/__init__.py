"""Reward against KL on the demo's task: RPO, KTO and DPO at several strengths, from the same rows and adapters."""
