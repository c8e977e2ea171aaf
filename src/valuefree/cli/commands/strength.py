"""``valuefree strength``: a trained policy at several strengths, and the one that held-out rows support."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from valuefree.batches.rendering import Limits
from valuefree.cli import show
from valuefree.cli.commands.closing import paths_of
from valuefree.cli.commands.from_options import load_on_device
from valuefree.cli.options.groups import ModelOptions
from valuefree.cli.options.strength import StrengthConfig
from valuefree.cli.options.train import TrainConfig
from valuefree.cli.output import Result, bars
from valuefree.cli.parse import from_mapping
from valuefree.data import read_triplets
from valuefree.errors import ConfigError
from valuefree.evaluation.held_out.assessment import assessment_of
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
from valuefree.models.adapters import has_adapter
from valuefree.models.load import model_of_run
from valuefree.models.logprobs import patch_forward
from valuefree.models.modules import is_encoder_decoder
from valuefree.models.sampler import Sampler
from valuefree.models.strength import Strength, strength_of
from valuefree.report import read_report, write_report
from valuefree.report.model_card import write_policy_card
from valuefree.runs.files import read_json, write_json
from valuefree.runs.manifest import HELD_OUT, SELECTION
from valuefree.runs.run_folder import MANIFEST
from valuefree.runs.saved_strength import complete, is_unfinished, save_at, scale_of
from valuefree.training.preparation import Scorer
from valuefree.training.scored_dataset import collator_for

HEADER = ("strength", "ranked as the feedback does", "explained share", "gain from the log", "KL, nats")


class TrainedPolicy:
    """The policy of a run, its present strength, and how its rows are scored."""

    def __init__(self, options: StrengthConfig):
        self.folder = Path(options.run)
        self.options = options
        self.trained = _options_of(self.folder, allow_code=options.allow_code)
        if options.apply:
            complete(self.folder)
        elif is_unfinished(self.folder):
            raise ConfigError(
                f"a change of the strength of {options.run} was interrupted. Run `valuefree strength {options.run}` "
                "without --no-apply, which completes it first."
            )
        name = model_of_run(options.run)
        if name == options.run:
            raise ConfigError(f"{options.run} has no folder model; expected the folder of a finished run.")
        self.policy, self.tokenizer = load_on_device(self.trained, name)
        self.reference = None
        if not has_adapter(self.policy):
            self.reference = load_on_device(self.trained)[0]
            patch_forward(self.reference)
        self.strength: Strength = strength_of(self.policy, self.reference)
        self.scale = scale_of(self.folder)
        self.metrics = _metrics_of(self.folder)
        self.logged: dict[str, Any] = (self.metrics.get("logged") or {}).get("policy") or {}
        if not self.logged:
            raise ConfigError(
                f"{options.run} has no measures of held-out rows, which say who wrote them; it is a run of an earlier "
                "version, without report prompts, or of several processes. Train it again."
            )
        self.sampled: str | None = self.logged["sampled"]

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
            progress=bars(),
            sampler=Sampler(temperature=self.logged["temperature"]),  # as the run has found it
        )
        return LoggedResponses.prepare(read_triplets(str(file), train_on="all", json_prompts="text"), scorer)

    def at_scales(self, responses: LoggedResponses) -> dict[float, Any]:
        """The rows at each of `SCALES` times the strength of training."""
        return rows_at_scales(lambda: responses.rows(self.policy), lambda to: self.strength.at(to / self.scale), SCALES)

    def apply(self, choice: StrengthChoice) -> None:
        """Give the saved policy this strength, relative to training, and write the report of the run anew."""
        self.strength.apply(choice.scale / self.scale)
        self.scale = choice.scale
        save_at(self.folder, choice.scale, self.policy.save_pretrained)
        report = self.responses(HELD_OUT)
        if report is None:
            return
        settings: dict[str, Any] = {"tau": self.logged["learned"]["tau"], "strength": choice, "seed": self.options.seed}
        origin = Origin(None, report.scorer, self.sampled)
        found = assessment_of(report.rows(self.policy), origin, **settings).to_dict()
        self.metrics["logged"]["policy"] = found | {"origin": self.logged["origin"]}
        write_json(self.folder / "metrics.json", self.metrics)
        write_report(read_report([self.folder]), self.folder)
        write_policy_card(self.folder, encoder_decoder=is_encoder_decoder(self.policy))


def _metrics_of(folder: Path) -> dict[str, Any]:
    file = folder / "metrics.json"
    return read_json(file) if file.exists() else {}


def _options_of(folder: Path, *, allow_code: bool) -> TrainConfig:
    try:
        record = read_json(folder / MANIFEST)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} has no readable {MANIFEST} ({error}); expected the folder of a run.") from error
    if record.get("command") != "train":
        raise ConfigError(f"{folder} is of valuefree {record.get('command')}; expected a run of valuefree train.")
    trained = from_mapping(TrainConfig, record["config"])
    loading = {item.name for item in fields(ModelOptions)} & set(trained.guarded())  # what `load_on_device` reads
    if loading and not allow_code:
        raise ConfigError(
            f"{folder / MANIFEST} sets {', '.join(sorted(loading))}, so its model runs code of its own. Pass "
            "--allow-code if you trust this run."
        )
    return trained


def choose(trained: TrainedPolicy) -> StrengthChoice | None:
    """The strength that the selection rows of the run support; None without such rows."""
    selection = trained.responses(SELECTION)
    if selection is None:
        return None
    options = trained.options
    return choose_strength(
        trained.at_scales(selection), sampled=trained.sampled, max_kl=options.max_kl, seed=options.seed
    )


def command(options: StrengthConfig) -> Result:
    """Print the curve on the report rows; choose a strength, or take the one that was given, and save it."""
    trained = TrainedPolicy(options)
    print(f"{options.run}: the saved policy has strength {trained.scale:g}, where 1 is as trained")
    if trained.sampled is not None:
        print(f"No gain is estimated from the log: {trained.sampled}.")
    if options.scale is not None:
        choice = StrengthChoice(options.scale, "it was given by --scale", ())
    else:
        choice = choose(trained)
    if choice is None:
        print("No strength is chosen: the run has no selection prompts (--validation-prompts). Give one by --scale.")
    elif options.scale is None:
        print(f"Chosen on the selection prompts: {choice.scale:g}; {choice.reason}.")
    report, points = trained.responses(HELD_OUT), []
    if report is not None:
        points = strength_curve(trained.at_scales(report), sampled=trained.sampled, seed=options.seed)
        rows = [_row(point, choice.scale if choice is not None else None) for point in points]
        show.table("On report prompts; * is the strength that is chosen", rows, HEADER)
    if choice is not None and options.apply and choice.scale != trained.scale:
        trained.apply(choice)
        said = f"saved: {trained.folder / 'model'} at strength {choice.scale:g}; the report is written anew"
    else:
        said = f"The saved policy keeps strength {trained.scale:g}."
    values = {
        "scale": trained.scale,
        "chosen": asdict(choice) if choice is not None else None,
        "points": [asdict(point) for point in points],
        "paths": paths_of(trained.folder),
    }
    return Result(said, values)


def _row(point: StrengthPoint, chosen: float | None) -> tuple[str, ...]:
    return (
        f"{point.scale:g}{' *' if point.scale == chosen else ''}",
        percent(point.ranking),
        percent(point.explained_share),
        with_interval(point.gain, sign=True) if point.gain is not None else "none",
        f"{point.kl:.2f}" if point.kl is not None else "",
    )
