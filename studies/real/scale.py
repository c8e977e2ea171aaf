"""Sizes of the study on real models. No torch."""

TRAIN, VALIDATION, TEST = 120, 40, 80  # prompts of a task
RESPONSES = 4  # logged by an author to each prompt
NEW_TOKENS = 48
MAX_LENGTH = 160  # tokens of prompt and response
RANK = 8  # of the adapter, in the upper half of the layers
SHIPPED_RANK = 16  # of the adapter of `valuefree train`, in all layers
SAMPLES = {"tune": 4, "report": 2, "shuffled": 2}  # of the policy, to each prompt that it is measured on
GENERATION_BATCH = 160  # all samples of a run at once
OFF_TASK_PROMPTS = 40
