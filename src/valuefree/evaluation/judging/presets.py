"""The judges of the paper by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class JudgePreset:
    """model: its name on the hub, and usually on a server. prompt: the one that the paper used with it."""

    model: str
    prompt: str


# Section IV-B says “Mistral v3” and “LLaMA v3” and no more; these are the instruction-tuned models of those names.
JUDGES = {
    "mistral-7b-instruct-v0.3": JudgePreset("mistralai/Mistral-7B-Instruct-v0.3", "paper"),
    "llama-3-8b-instruct": JudgePreset("meta-llama/Meta-Llama-3-8B-Instruct", "paper"),
}
