"""What cells share that train by the package's trainer: objectives by label, measurements mid-run, changed rewards."""

import ast
from collections.abc import Callable, Sequence

import datasets
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from studies.harness.controls import permuted
from valuefree.cli.options.registry import declarations
from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.logged_responses import LoggedResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.objectives import Objective


def objective_of(label: str) -> Objective:
    """The objective that a label stands for: the name of a class and keyword arguments with literal values.

    Raises:
        ConfigError: another expression, an unknown class or argument.
    """
    classes = {item.class_name: item for item in declarations().values()}
    try:
        call = ast.parse(label, mode="eval").body
    except SyntaxError:
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ConfigError(f"{label!r} is not an objective; expected a form such as 'KTO(beta=0.3)'.")
    if call.func.id not in classes:
        raise ConfigError(f"unknown objective {call.func.id!r}; choose from {', '.join(classes)}.")
    try:
        return classes[call.func.id].load()(**{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{label!r}: {error}.") from error


class MeasureAt(TrainerCallback):
    """Calls `take` after the steps of `steps`."""

    def __init__(self, steps: Sequence[int], take: Callable[[int], None]):
        self.steps, self.take = steps, take

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Measure, if it is time."""
        if state.global_step in self.steps:
            self.take(state.global_step)


def with_rewards(rows: datasets.Dataset, rewards: Sequence[float]) -> datasets.Dataset:
    """The rows with other rewards."""
    return datasets.Dataset.from_dict({name: rows[name] for name in rows.column_names} | {"reward": list(rewards)})


def permuted_rows(rows: datasets.Dataset, control: str, *, seed: int) -> datasets.Dataset:
    """The rows after the permutation `control` of their rewards, a key of `studies.harness.controls.REMOVES`."""
    return with_rewards(rows, permuted(list(rows["reward"]), list(rows["prompt_id"]), control, seed=seed))


def ranking_accuracy(rows: LoggedResponses, policy: nn.Module) -> float:
    """Share of a prompt's pairs of responses that the policy ranks as the logged rewards do."""
    return quick_measures(rows.rows(policy), sampled="measured by sampling")["ranking_accuracy"]
