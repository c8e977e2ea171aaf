"""From scored rows to a trained policy or reward model: preparation, reference scores, the trainers."""
