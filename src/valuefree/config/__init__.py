"""The options of the command line; no torch."""

from valuefree.config.options import (
    DataOptions,
    DecodingOptions,
    LengthOptions,
    ModelOptions,
    ObjectiveOptions,
    Options,
    RewardOptions,
    ScoreOptions,
)
from valuefree.config.verbs import (
    VERBS,
    DemoConfig,
    EvaluateConfig,
    GenerateConfig,
    InspectConfig,
    ScoreConfig,
    TrainConfig,
)

__all__ = [
    "VERBS",
    "DataOptions",
    "DecodingOptions",
    "DemoConfig",
    "EvaluateConfig",
    "GenerateConfig",
    "InspectConfig",
    "LengthOptions",
    "ModelOptions",
    "ObjectiveOptions",
    "Options",
    "RewardOptions",
    "ScoreConfig",
    "ScoreOptions",
    "TrainConfig",
]
