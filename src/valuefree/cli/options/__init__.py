"""The options of the verbs, one file and one class each; no torch."""

from importlib import import_module
from keyword import iskeyword

from valuefree.cli.options.groups import Options

# What each verb does. The classes are imported when they are needed: `valuefree --help` lists only these lines.
VERBS = {
    "init": "Look at a log, and write a commented recipe with which `train` runs.",
    "doctor": "What this machine can do: libraries, extras, memory; whether a model is there and its training fits.",
    "prepare": "A public feedback set (UltraFeedback, HelpSteer) as rows to train on and to validate on.",
    "import": "The export of a feedback tool, or any table, as rows of prompt, response and reward.",
    "inspect": "What this data and these settings will do, before anything is trained.",
    "score": "Log-probability of every response under the reference, into the cache and a Parquet file.",
    "train": "Fine-tune a policy on feedback, and report what it gained on held-out prompts.",
    "sample": "Draw responses from a model, the reference; reward them, or reward those in a file.",
    "generate": "Sample one response per prompt into a JSONL file.",
    "evaluate": "Measure responses of a file or of a model; or reward a policy against its reference.",
    "strength": "The strength of a trained policy that held-out rows support: scale it up or down, without training.",
    "merge": "Full weights of a trained policy in a plain transformers folder, which any server loads.",
    "export": "A trained policy as a GGUF file, for llama.cpp and Ollama.",
    "judge": "Which of two systems' answers a judge prefers: both orders, intervals, what is missing.",
    "report": "One HTML file, Markdown and figures of a run; or of several, compared.",
    "demo": "Train on feedback that comes with the package, and compare on held-out prompts.",
    "schema": "A JSON schema of the recipes, with which editors complete and check them.",
    "completion": "A script with which bash, zsh or fish complete verbs, flags and choices.",
}


def options_of(verb: str) -> type[Options]:
    """The option class of a verb."""
    return getattr(import_module(f"valuefree.cli.options.{module_of(verb)}"), f"{verb.title()}Config")


def module_of(verb: str) -> str:
    """The name of a verb's two modules; ``import`` is a word of Python, and gets an underscore."""
    return f"{verb}_" if iskeyword(verb) else verb


__all__ = ["VERBS", "Options", "module_of", "options_of"]
