"""Reward functions: loading them by name, checking what they return, and reward models as reward functions."""

import ast
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from valuefree.data.prompts import Prompt
from valuefree.errors import ConfigError, DataError, ValueFreeError
from valuefree.models.modules import accelerator_device
from valuefree.models.reward_model import MAX_LENGTH, load_reward_model, reward_inputs, scores_of

RewardFunction = Callable[[Sequence[Prompt], Sequence[str]], Sequence[float]]


def rewards_of(function: RewardFunction, prompts: Sequence[Prompt], texts: Sequence[str]) -> np.ndarray:
    """One finite reward per response, float64 of shape (R,).

    Raises:
        DataError: the function failed, or gave another number of values, or some that are not finite.
    """
    try:
        values = np.asarray(function(prompts, texts), dtype=np.float64)
    except Exception as error:
        if isinstance(function, RewardModel) or isinstance(error, ValueFreeError):
            raise
        raise DataError(  # whatever the user's code raises
            f"the reward function failed with {type(error).__name__}: {error}\nWith --debug the command shows where."
        ) from error
    if values.shape != (len(texts),):
        raise DataError(f"the reward function gave shape {values.shape} for {len(texts)} responses; expected one each.")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f"the reward function gave {len(bad)} values that are not finite (first: {bad[:10].tolist()}).")
    return values


def check_reward(function: RewardFunction, prompts: Sequence[Prompt], texts: Sequence[str], *, name: str) -> None:
    """Call a reward function on a few examples, so that a faulty one fails before training and not after it.

    Raises:
        ConfigError: it fails, or does not give one finite number per response.
    """
    try:
        rewards_of(function, prompts, texts)
    except Exception as error:  # whatever the user's code raises
        cause = error.__cause__ or error
        raise ConfigError(
            f"the reward function {name} cannot be used: on {len(texts)} examples it failed with "
            f"{type(cause).__name__}: {cause} It is called with a list of prompts and a list of responses, of equal "
            "length, and returns one finite number per response."
        ) from error


def load_reward(spec: str) -> RewardFunction:
    """A reward function from ``module:function``, or the reward model of that name or folder.

    The function takes prompts and responses, two sequences of equal length, and returns a number for each. A module is
    looked for in the working folder too.

    Raises:
        ConfigError: no such module, function or model.
    """
    module_name, _, function_name = spec.partition(":")
    file = Path(module_name)
    if file.suffix == ".py" and file.is_file():
        module = file.stem if file.is_absolute() else ".".join(file.with_suffix("").parts)
        raise ConfigError(f"{spec} names a Python file; write {module}:FUNCTION. {functions_in(file)}")
    if not function_name or Path(spec).exists():
        return RewardModel(spec)
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"no reward function {spec!r} ({error}); expected module:function.") from error
    finally:
        if added:
            sys.path.remove(folder)
    if not hasattr(module, function_name):
        there = f" {functions_in(Path(module.__file__))}" if module.__file__ else ""
        raise ConfigError(f"the module {module_name} has no {function_name!r}, which {spec} names.{there}")
    function: Any = getattr(module, function_name)
    if not callable(function):
        raise ConfigError(f"{spec!r} is {type(function).__name__}, not a function of prompts and responses.")
    return cast("RewardFunction", function)


def functions_in(file: Path) -> str:
    """A sentence on the functions that a Python file defines; the file is parsed, and not run."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as error:
        return f"{file} cannot be parsed as Python: {error}."
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return f"{file} defines {', '.join(names) or 'no function'}."


class RewardModel:
    """A sequence classifier with one output as reward function: higher is better.

    Rows are rendered as `valuefree.training.reward_model_trainer.RewardModelTrainer` renders them.

    Args:
        name: hub name or folder. batch_size: responses at a time. max_length: tokens of prompt and response together;
            no more than the model's tokenizer names.
    """

    def __init__(self, name: str, *, batch_size: int = 16, max_length: int = MAX_LENGTH):
        model, tokenizer = load_reward_model(name)
        self.inputs = reward_inputs(model, tokenizer, max_length)
        self.model: Any = model
        self.model.to(accelerator_device())
        self.batch_size = batch_size

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """One score per response."""
        scores: list[float] = []
        for start in range(0, len(prompts), self.batch_size):
            part = slice(start, start + self.batch_size)
            batch, _ = self.inputs.batch(prompts[part], responses[part])
            with torch.no_grad():
                there = {name: tensor.to(self.model.device) for name, tensor in batch.items()}
                scores += scores_of(self.model, there).tolist()
        return scores
