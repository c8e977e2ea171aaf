"""Evaluation: generate, reward, judge, compare. Names are loaded on first use, so that `stats` needs no torch."""

import ast
import inspect
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

# The one list of public names. Type checkers execute it (`as` marks an export); `_modules_of_names` reads it.
if TYPE_CHECKING:
    from valuefree.evaluation.generation import Decoding as Decoding
    from valuefree.evaluation.generation import generate as generate
    from valuefree.evaluation.judging.arena import ArenaResult as ArenaResult
    from valuefree.evaluation.judging.arena import arena as arena
    from valuefree.evaluation.judging.asking import Prices as Prices
    from valuefree.evaluation.judging.backends import FunctionJudge as FunctionJudge
    from valuefree.evaluation.judging.cache import JudgementCache as JudgementCache
    from valuefree.evaluation.judging.judge import Protocol as Protocol
    from valuefree.evaluation.judging.judge import judge as judge
    from valuefree.evaluation.judging.judge import judge_by_reward as judge_by_reward
    from valuefree.evaluation.judging.judge import read_answer as read_answer
    from valuefree.evaluation.judging.local_judge import LocalJudge as LocalJudge
    from valuefree.evaluation.judging.prompts import JudgePrompt as JudgePrompt
    from valuefree.evaluation.judging.prompts import load_prompt as load_prompt
    from valuefree.evaluation.judging.result import JudgeResult as JudgeResult
    from valuefree.evaluation.judging.server_judge import ServerJudge as ServerJudge
    from valuefree.evaluation.judging.tables import win_rate_table as win_rate_table
    from valuefree.evaluation.metrics.base import Metric as Metric
    from valuefree.evaluation.metrics.measure import TextMetrics as TextMetrics
    from valuefree.evaluation.metrics.measure import text_metrics as text_metrics
    from valuefree.evaluation.openai_client import generate_remote as generate_remote
    from valuefree.evaluation.outputs import read_outputs as read_outputs
    from valuefree.evaluation.outputs import write_outputs as write_outputs
    from valuefree.evaluation.policy_evaluation import Evaluation as Evaluation
    from valuefree.evaluation.policy_evaluation import evaluate as evaluate
    from valuefree.evaluation.reward_functions import load_reward as load_reward
    from valuefree.evaluation.stats import Agreement as Agreement
    from valuefree.evaluation.stats import Estimate as Estimate
    from valuefree.evaluation.stats import LengthControlled as LengthControlled
    from valuefree.evaluation.stats import Ranking as Ranking
    from valuefree.evaluation.stats import WinTieLoss as WinTieLoss
    from valuefree.evaluation.stats import bootstrap_mean as bootstrap_mean
    from valuefree.evaluation.stats import bradley_terry as bradley_terry
    from valuefree.evaluation.stats import clustered_mean as clustered_mean
    from valuefree.evaluation.stats import cohen_kappa as cohen_kappa
    from valuefree.evaluation.stats import length_controlled_win_rate as length_controlled_win_rate
    from valuefree.evaluation.stats import paired_difference as paired_difference
    from valuefree.evaluation.stats import sign_test as sign_test
    from valuefree.evaluation.stats import win_tie_loss as win_tie_loss
    from valuefree.evaluation.validation import ValidationMetrics as ValidationMetrics


def _modules_of_names() -> dict[str, str]:
    """Public name → module, from the imports above."""
    tree = ast.parse(inspect.getsource(sys.modules[__name__]))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOME = _modules_of_names()
__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]  # it knows the exports from above


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
