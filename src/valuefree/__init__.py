"""valuefree: a better policy from scalar feedback, offline, without a value network.

The public names, in the order of the pipeline::

    rows ──① read_feedback, read_triplets, read_pairs, read_ultrafeedback, split_by_prompt, split_top_score
         ──② score_reference ──③ partition_values, partition_report ──④ RPO, DRO, KTO, NCA, SFT, DPO, IPO, SLiC,
            AsymRE, TOPR, GRPO
         ──⑤ PolicyTrainer, RewardModelTrainer ──⑥ generate, evaluate, text_metrics, judge

Names are loaded on first use: ``import valuefree`` imports neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from valuefree.errors import (
    ConfigError,
    DataError,
    DivergenceError,
    JudgeError,
    ScoringError,
    ServingError,
    ValueFreeError,
)

if TYPE_CHECKING:
    from valuefree.data import (
        RewardScaler,
        read_feedback,
        read_pairs,
        read_triplets,
        read_ultrafeedback,
        split_by_prompt,
        split_top_score,
    )
    from valuefree.evaluation.generation import Decoding, generate
    from valuefree.evaluation.judging.judge import judge
    from valuefree.evaluation.metrics.measure import text_metrics
    from valuefree.evaluation.openai_client import generate_remote
    from valuefree.evaluation.policy_evaluation import evaluate
    from valuefree.models.load import load_model
    from valuefree.models.logprobs import response_logps
    from valuefree.models.reward_model import load_reward_model
    from valuefree.objectives import (
        DPO,
        DRO,
        GRPO,
        IPO,
        KTO,
        NCA,
        RPO,
        SFT,
        TOPR,
        AsymRE,
        SLiC,
        asymre_loss,
        dpo_loss,
        dro_loss,
        grpo_loss,
        ipo_loss,
        kto_loss,
        nca_loss,
        rpo_loss,
        sft_loss,
        slic_loss,
        topr_loss,
    )
    from valuefree.partition import partition_report, partition_values, rank_rewards
    from valuefree.training.reference_scores import score_reference
    from valuefree.training.reward_model_trainer import RewardModelArguments, RewardModelTrainer
    from valuefree.training.trainer import PolicyTrainer, PolicyTrainingArguments

__version__ = "0.1.0"

_HOME = {
    "read_triplets": "data",
    "read_pairs": "data",
    "read_ultrafeedback": "data",
    "read_feedback": "data",
    "split_by_prompt": "data",
    "split_top_score": "data",
    "RewardScaler": "data",
    "load_model": "models.load",
    "response_logps": "models.logprobs",
    "score_reference": "training.reference_scores",
    "partition_values": "partition",
    "rank_rewards": "partition",
    "partition_report": "partition",
    "RPO": "objectives",
    "DRO": "objectives",
    "KTO": "objectives",
    "NCA": "objectives",
    "SFT": "objectives",
    "DPO": "objectives",
    "IPO": "objectives",
    "SLiC": "objectives",
    "AsymRE": "objectives",
    "TOPR": "objectives",
    "GRPO": "objectives",
    "rpo_loss": "objectives",
    "dro_loss": "objectives",
    "kto_loss": "objectives",
    "nca_loss": "objectives",
    "dpo_loss": "objectives",
    "ipo_loss": "objectives",
    "slic_loss": "objectives",
    "sft_loss": "objectives",
    "asymre_loss": "objectives",
    "topr_loss": "objectives",
    "grpo_loss": "objectives",
    "PolicyTrainer": "training.trainer",
    "PolicyTrainingArguments": "training.trainer",
    "load_reward_model": "models.reward_model",
    "RewardModelTrainer": "training.reward_model_trainer",
    "RewardModelArguments": "training.reward_model_trainer",
    "Decoding": "evaluation",
    "generate": "evaluation",
    "generate_remote": "evaluation",
    "evaluate": "evaluation",
    "judge": "evaluation",
    "text_metrics": "evaluation",
}

__all__ = [
    "DPO",
    "DRO",
    "GRPO",
    "IPO",
    "KTO",
    "NCA",
    "RPO",
    "SFT",
    "TOPR",
    "AsymRE",
    "ConfigError",
    "DataError",
    "Decoding",
    "DivergenceError",
    "JudgeError",
    "PolicyTrainer",
    "PolicyTrainingArguments",
    "RewardModelArguments",
    "RewardModelTrainer",
    "RewardScaler",
    "SLiC",
    "ScoringError",
    "ServingError",
    "ValueFreeError",
    "asymre_loss",
    "dpo_loss",
    "dro_loss",
    "evaluate",
    "generate",
    "generate_remote",
    "grpo_loss",
    "ipo_loss",
    "judge",
    "kto_loss",
    "load_model",
    "load_reward_model",
    "nca_loss",
    "partition_report",
    "partition_values",
    "rank_rewards",
    "read_feedback",
    "read_pairs",
    "read_triplets",
    "read_ultrafeedback",
    "response_logps",
    "rpo_loss",
    "score_reference",
    "sft_loss",
    "slic_loss",
    "split_by_prompt",
    "split_top_score",
    "text_metrics",
    "topr_loss",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
