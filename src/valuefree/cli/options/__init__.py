"""The options of the command line; no torch."""

from valuefree.cli.options.demo import DemoConfig
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.options.generate import GenerateConfig
from valuefree.cli.options.groups import (
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    Options,
    RewardOptions,
    ScoreOptions,
)
from valuefree.cli.options.inspect import InspectConfig
from valuefree.cli.options.judge import JudgeConfig
from valuefree.cli.options.metrics import MetricOptions
from valuefree.cli.options.objective import KNOBS, PAIRWISE, PARTITIONED, PRESETS, REWARD_MODEL, ObjectiveOptions
from valuefree.cli.options.prepare import PrepareConfig
from valuefree.cli.options.report import ReportConfig
from valuefree.cli.options.sample import SampleConfig
from valuefree.cli.options.score import ScoreConfig
from valuefree.cli.options.train import TrainConfig
from valuefree.evaluation.metrics.registry import METRICS, kind_of, metric_names

VERBS: dict[str, type[Options]] = {
    "prepare": PrepareConfig,
    "inspect": InspectConfig,
    "score": ScoreConfig,
    "train": TrainConfig,
    "sample": SampleConfig,
    "generate": GenerateConfig,
    "evaluate": EvaluateConfig,
    "judge": JudgeConfig,
    "report": ReportConfig,
    "demo": DemoConfig,
}

__all__ = [
    "KNOBS",
    "METRICS",
    "PAIRWISE",
    "PARTITIONED",
    "PRESETS",
    "REWARD_MODEL",
    "VERBS",
    "DataOptions",
    "DecodingOptions",
    "DemoConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "InspectConfig",
    "JudgeConfig",
    "LengthOptions",
    "MetricOptions",
    "ModelOptions",
    "ObjectiveOptions",
    "Options",
    "PrepareConfig",
    "ReportConfig",
    "RewardOptions",
    "SampleConfig",
    "ScoreConfig",
    "ScoreOptions",
    "TrainConfig",
    "kind_of",
    "metric_names",
]
