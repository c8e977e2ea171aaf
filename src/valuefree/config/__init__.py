"""The options of the command line; no torch."""

from valuefree.config.feedback_sets import PrepareConfig
from valuefree.config.judging import JudgeConfig
from valuefree.config.metrics import METRICS, MetricOptions, kind_of, metric_names
from valuefree.config.objectives import KNOBS, PAIRWISE, PARTITIONED, PRESETS, REWARD_MODEL, ObjectiveOptions
from valuefree.config.options import (
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    Options,
    RewardOptions,
    ScoreOptions,
)
from valuefree.config.reporting import ReportConfig
from valuefree.config.studies import StudyExactConfig, StudyPaperConfig, StudySmallConfig
from valuefree.config.verbs import (
    VERBS,
    DemoConfig,
    EvaluateConfig,
    GenerateConfig,
    InspectConfig,
    SampleConfig,
    ScoreConfig,
    TrainConfig,
)

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
    "StudyExactConfig",
    "StudyPaperConfig",
    "StudySmallConfig",
    "TrainConfig",
    "kind_of",
    "metric_names",
]
