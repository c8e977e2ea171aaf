"""``valuefree strength``: a trained policy at several strengths, and the one that held-out rows support."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from valuefree.batches.rendering import Limits
from valuefree.cli import show
from valuefree.cli.commands.from_options import load
from valuefree.cli.options.strength import StrengthConfig
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.parse import from_mapping
from valuefree.data import read_triplets
from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.logged_responses import LoggedResponses, Origin
from valuefree.evaluation.held_out.strength_choice import (
    SCALES,
    StrengthChoice,
    StrengthPoint,
    choose_strength,
    rows_at_scales,
    strength_curve,
)
from valuefree.evaluation.held_out.wording import percent, with_interval
from valuefree.models.load import accelerator_device, has_adapter, load_model, model_of_run
from valuefree.models.logprobs import patch_forward
from valuefree.models.strength import Strength, strength_of
from valuefree.runs.files import read_json, write_json
from valuefree.runs.manifest import HELD_OUT, SELECTION, STRENGTH
from valuefree.runs.run_folder import MANIFEST
from valuefree.training.preparation import Scorer
from valuefree.training.scored_dataset import collator_for

logger = logging.getLogger(__name__)

HEADER = ("strength", "ranked as the feedback does", "explained share", "estimated gain", "KL, nats")


class TrainedPolicy:
    """The policy of a run, its present strength, and how its rows are scored."""

    def __init__(self, options: StrengthConfig):
        self.folder = Path(options.run)
        self.options = options
        self.trained = _options_of(self.folder)
        name = model_of_run(options.run)
        if name == options.run:
            raise ConfigError(f"{options.run} has no folder model; expected the folder of a finished run.")
        settings = {"dtype": self.trained.dtype, "trust_remote_code": self.trained.trust_remote_code}
        self.policy, self.tokenizer = load_model(name, **settings)
        self.policy.to(accelerator_device())
        self.reference = None
        if not has_adapter(self.policy):
            self.reference = load(self.trained)[0].to(accelerator_device())
            patch_forward(self.reference)
        self.strength: Strength = strength_of(self.policy, self.reference)
        self.scale = scale_of(self.folder)
        self.origin: Origin | None = None  # of the rows that are read first

    @property
    def sampled(self) -> str | None:
        """As in `measure`, once rows were read."""
        return self.origin.sampled if self.origin is not None else None

    def responses(self, name: str) -> LoggedResponses | None:
        """The rows of a file of the run, scored; None where there is no such file."""
        file = self.folder / name
        if not file.exists():
            return None
        trained = self.trained
        scorer = Scorer(
            self.policy if self.reference is None else self.reference,
            self.tokenizer,
            collator_for(self.policy, self.tokenizer),
            device=next(self.policy.parameters()).device,
            limits=Limits(trained.max_length, trained.max_prompt_length, trained.max_response_length),
            cache_dir=self.options.cache_dir,
        )
        rows = read_triplets(str(file))
        responses = LoggedResponses.prepare(rows, scorer)
        self.origin = self.origin or Origin.of(responses)
        if self.origin.scorer.sampler == scorer.sampler:
            return responses
        return LoggedResponses.prepare(rows, replace(scorer, sampler=self.origin.scorer.sampler))

    def at_scales(self, responses: LoggedResponses) -> dict[float, Any]:
        """The rows at each of `SCALES` times the strength of training."""
        return rows_at_scales(lambda: responses.rows(self.policy), lambda to: self.strength.at(to / self.scale), SCALES)

    def apply(self, scale: float) -> None:
        """Give the saved policy `scale` times the strength of training."""
        self.strength.apply(scale / self.scale)
        self.policy.save_pretrained(self.folder / "model")
        write_json(self.folder / STRENGTH, {"scale": scale})


def scale_of(folder: Path) -> float:
    """The strength of the policy that a run saved, relative to training."""
    file = folder / STRENGTH
    return float(read_json(file)["scale"]) if file.exists() else 1.0


def _options_of(folder: Path) -> TrainConfig:
    try:
        record = read_json(folder / MANIFEST)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} has no readable {MANIFEST} ({error}); expected the folder of a run.") from error
    if record.get("command") != "train":
        raise ConfigError(f"{folder} is of valuefree {record.get('command')}; expected a run of valuefree train.")
    return from_mapping(TrainConfig, record["config"])


def choose(trained: TrainedPolicy) -> StrengthChoice | None:
    """The strength that the selection rows of the run support; None without such rows."""
    selection = trained.responses(SELECTION)
    if selection is None:
        return None
    options = trained.options
    return choose_strength(
        trained.at_scales(selection), sampled=trained.sampled, max_kl=options.max_kl, seed=options.seed
    )


def command(options: StrengthConfig) -> None:
    """Print the curve on the report rows; choose a strength, or take the one that was given, and save it."""
    trained = TrainedPolicy(options)
    print(f"{options.run}: strength {trained.scale:g}, where 1 is as trained")
    chosen = options.scale
    if chosen is None:
        choice = choose(trained)
        if choice is None:
            print(
                "No strength is chosen: the run has no selection prompts (--validation-prompts). Give one by --scale."
            )
        else:
            chosen = choice.scale
            print(f"Chosen on the selection prompts: {chosen:g}; {choice.reason}.")
    report = trained.responses(HELD_OUT)
    if report is not None:
        points = strength_curve(trained.at_scales(report), sampled=trained.sampled, seed=options.seed)
        show.table("On report prompts", [_row(point, chosen) for point in points], HEADER)
    if chosen is not None and options.apply and chosen != trained.scale:
        trained.apply(chosen)
        print(f"saved: {trained.folder / 'model'} at strength {chosen:g}")


def _row(point: StrengthPoint, chosen: float | None) -> tuple[str, ...]:
    return (
        f"{point.scale:g}{' *' if point.scale == chosen else ''}",
        percent(point.ranking),
        percent(point.explained_share),
        with_interval(point.gain, sign=True) if point.gain is not None else "none",
        f"{point.kl:.2f}" if point.kl is not None else "",
    )
