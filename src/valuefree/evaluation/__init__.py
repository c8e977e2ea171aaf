"""⑥ Evaluation: generate, reward, judge, compare. Names are loaded on first use, so that `stats` needs no torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuefree.evaluation.generation import Decoding, generate
    from valuefree.evaluation.judging.arena import ArenaResult, arena
    from valuefree.evaluation.judging.asking import Prices
    from valuefree.evaluation.judging.backends import FunctionJudge
    from valuefree.evaluation.judging.cache import JudgementCache
    from valuefree.evaluation.judging.judge import Protocol, judge, judge_by_reward, read_answer
    from valuefree.evaluation.judging.local_judge import LocalJudge
    from valuefree.evaluation.judging.prompts import JudgePrompt, load_prompt
    from valuefree.evaluation.judging.result import JudgeResult
    from valuefree.evaluation.judging.server_judge import ServerJudge
    from valuefree.evaluation.judging.tables import win_rate_table
    from valuefree.evaluation.metrics.base import Metric
    from valuefree.evaluation.metrics.measure import TextMetrics, text_metrics
    from valuefree.evaluation.outputs import read_outputs, write_outputs
    from valuefree.evaluation.rewards import Evaluation, evaluate, load_reward
    from valuefree.evaluation.serving import generate_remote
    from valuefree.evaluation.stats import (
        Agreement,
        Estimate,
        LengthControlled,
        Ranking,
        WinTieLoss,
        bootstrap_mean,
        bradley_terry,
        clustered_mean,
        cohen_kappa,
        length_controlled_win_rate,
        paired_difference,
        sign_test,
        win_tie_loss,
    )
    from valuefree.evaluation.validation import ValidationMetrics

_HOME = {
    "ArenaResult": "judging.arena",
    "arena": "judging.arena",
    "Prices": "judging.asking",
    "FunctionJudge": "judging.backends",
    "JudgementCache": "judging.cache",
    "Protocol": "judging.judge",
    "judge": "judging.judge",
    "judge_by_reward": "judging.judge",
    "read_answer": "judging.judge",
    "LocalJudge": "judging.local_judge",
    "JudgePrompt": "judging.prompts",
    "load_prompt": "judging.prompts",
    "JudgeResult": "judging.result",
    "ServerJudge": "judging.server_judge",
    "win_rate_table": "judging.tables",
    "read_outputs": "outputs",
    "write_outputs": "outputs",
    "Decoding": "generation",
    "generate": "generation",
    "generate_remote": "serving",
    "Evaluation": "rewards",
    "evaluate": "rewards",
    "load_reward": "rewards",
    "Agreement": "stats",
    "Estimate": "stats",
    "LengthControlled": "stats",
    "Ranking": "stats",
    "WinTieLoss": "stats",
    "bootstrap_mean": "stats",
    "bradley_terry": "stats",
    "clustered_mean": "stats",
    "cohen_kappa": "stats",
    "length_controlled_win_rate": "stats",
    "paired_difference": "stats",
    "sign_test": "stats",
    "win_tie_loss": "stats",
    "Metric": "metrics.base",
    "TextMetrics": "metrics.measure",
    "text_metrics": "metrics.measure",
    "ValidationMetrics": "validation",
}
__all__ = [
    "Agreement",
    "ArenaResult",
    "Decoding",
    "Estimate",
    "Evaluation",
    "FunctionJudge",
    "JudgePrompt",
    "JudgeResult",
    "JudgementCache",
    "LengthControlled",
    "LocalJudge",
    "Metric",
    "Prices",
    "Protocol",
    "Ranking",
    "ServerJudge",
    "TextMetrics",
    "ValidationMetrics",
    "WinTieLoss",
    "arena",
    "bootstrap_mean",
    "bradley_terry",
    "clustered_mean",
    "cohen_kappa",
    "evaluate",
    "generate",
    "generate_remote",
    "judge",
    "judge_by_reward",
    "length_controlled_win_rate",
    "load_prompt",
    "load_reward",
    "paired_difference",
    "read_answer",
    "read_outputs",
    "sign_test",
    "text_metrics",
    "win_rate_table",
    "win_tie_loss",
    "write_outputs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
