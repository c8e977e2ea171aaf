"""What a finished run has learned, from the logged responses that it held out."""

import logging
from typing import Any

from valuefree.cli.commands.runs import Run
from valuefree.errors import ConfigError, DataError
from valuefree.evaluation.held_out.assessment import Assessment, HeldOutResponses
from valuefree.evaluation.held_out.measure import quick_measures
from valuefree.evaluation.held_out.strength_choice import StrengthChoice
from valuefree.evaluation.metrics.registry import HELD_OUT_DEFAULT
from valuefree.models.strength import strength_of
from valuefree.runs.files import write_json
from valuefree.runs.manifest import STRENGTH, launched
from valuefree.training.learning_rate import ADAPTER_RATES, FULL_RATES, search_learning_rate
from valuefree.training.trainer import PolicyTrainer

logger = logging.getLogger(__name__)

LEARNING_RATE = "learning_rate"  # in the manifest: what lr auto chose
NOT_ESTIMATED = "only the ranking is measured"


def held_out_responses(trainer: PolicyTrainer, run: Run) -> HeldOutResponses | None:
    """The logged responses to measure the policy on; call this before training. None without held-out prompts.

    With several processes there are none either, because the measures run in one process.
    """
    if run.held_out is None:
        logger.warning("no prompts are held out, so nothing will say what the policy has learned: see --test-prompts")
        return None
    if launched()[1] > 1:
        logger.warning(
            "what the policy has learned is measured in one process, and this run has several: afterwards run "
            "`valuefree evaluate --rows %s --model %s`.",
            run.folder / "held_out.jsonl",
            run.folder,
        )
        return None
    return HeldOutResponses.prepare(
        trainer.scorer, report=run.held_out, selection=run.validation, training=run.rows, seed=run.options.seed
    )


def choose_learning_rate(trainer: PolicyTrainer, run: Run, held_out: HeldOutResponses | None) -> list[str]:
    """Give the trainer the learning rate that a short search on the selection prompts finds; what was tried, in words.

    A resumed run keeps its rate.

    Raises:
        ConfigError: several processes, or no selection prompts.
    """
    if LEARNING_RATE in run.record:
        trainer.args.learning_rate = run.record[LEARNING_RATE]
        return []
    if held_out is None or held_out.selection is None:
        raise ConfigError(
            "lr auto needs selection prompts, test prompts and one process: it chooses by logged responses. Give "
            "--validation-prompts, or a number."
        )
    selection = held_out.selection
    found = search_learning_rate(
        trainer,
        ADAPTER_RATES if run.options.lora_rank else FULL_RATES,
        lambda model: quick_measures(selection.rows(model), sampled=NOT_ESTIMATED)[HELD_OUT_DEFAULT],
    )
    trainer.args.learning_rate = run.record[LEARNING_RATE] = found.rate
    return [str(found)]


def assess(trainer: PolicyTrainer, run: Run, held_out: HeldOutResponses, reference: Any) -> Assessment | None:
    """Choose the strength of the policy where the options ask for it, then measure it on the report prompts.

    None, with a warning, if the rows cannot be measured: all rewards are equal, or log-probabilities of the policy
    are not finite.
    """
    options = run.options
    try:
        chosen = None
        if options.strength == "auto" and held_out.selection is not None and held_out.selection.varied:
            chosen = _choose_strength(trainer, run, held_out, reference)
        return held_out.assess(trainer.model, tau=trainer.temperature, strength=chosen, seed=options.seed)
    except DataError as error:
        logger.warning("what the policy has learned cannot be measured: %s", error)
        return None


def _choose_strength(
    trainer: PolicyTrainer, run: Run, held_out: HeldOutResponses, reference: Any
) -> StrengthChoice | None:
    """The chosen strength, applied to the policy and to what is saved of it."""
    try:
        strength = strength_of(trainer.model, reference)
    except ConfigError as error:
        logger.warning("the strength of the policy stays as trained: %s", error)
        return None
    options = run.options
    chosen = held_out.choose_strength(trainer.model, strength, max_kl=options.max_kl, seed=options.seed)
    if chosen is not None and chosen.scale != 1.0:
        strength.apply(chosen.scale)
        run.save(trainer)
        write_json(run.folder / STRENGTH, {"scale": chosen.scale})
    return chosen
