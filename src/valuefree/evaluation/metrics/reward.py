"""The mean reward. No torch until rewards are computed."""

from collections.abc import Sequence
from importlib import import_module

from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts, of_mean


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`."""
    function = settings.reward_function
    if function is None:
        raise ConfigError("metric reward needs reward_function.")

    def measure(texts: Texts) -> dict[str, Metric]:
        rewards_of = import_module("valuefree.evaluation.reward_functions").rewards_of
        rewards = rewards_of(function, texts.asked, texts.predictions).tolist() if texts.predictions else []
        return {"reward": of_mean("reward", rewards, texts.prompts, unscored=texts.unscored)}

    return measure
