"""What a run folder holds: its manifest, the files that a run owns, the prompts that it was trained on."""
