"""The judges of the paper, by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JudgePreset:
    """model: on the hub, and under which a server usually knows it. prompt: which it was used with."""

    model: str
    prompt: str


# Section IV-B says “Mistral v3” and “LLaMA v3” and no more; these are the instruction-tuned models of those names.
JUDGES = {
    "mistral-7b-instruct-v0.3": JudgePreset("mistralai/Mistral-7B-Instruct-v0.3", "paper"),
    "llama-3-8b-instruct": JudgePreset("meta-llama/Meta-Llama-3-8B-Instruct", "paper"),
}
