"""``--resume`` continues only the same run: settings and rows are compared with the manifest in its folder."""

import logging
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from valuefree.cli.options.groups import DataOptions, flags, key_of
from valuefree.cli.options.train import CHANGEABLE, TrainConfig
from valuefree.errors import ConfigError
from valuefree.runs.checkpoints import newest_whole
from valuefree.runs.files import read_json
from valuefree.runs.json_values import as_written
from valuefree.runs.run_folder import MANIFEST, check_verb

logger = logging.getLogger(__name__)

# Options that may differ, and why: they change neither the checkpoints nor the training. max_steps and epochs are not
# among them, because the linear decay of the learning rate ends where they say, so all steps depend on them.
MAY_DIFFER = {
    "out": "the folder may have been moved",
    "resume": "says that the run continues",
    "allow_changed": "says which options have another value",
    "on_divergence": "what happens to a step that is not finite; there was none up to the checkpoint, or it is counted",
    "overwrite": "not given together with resume",
    "dry_run": "nothing is trained",
    "quiet": "what is printed",
    "json": "how the result is printed",
    "logging_steps": "how often numbers are printed",
    "report_to": "where numbers are printed",
    "cache_dir": "where reference scores are kept; they are found by content",
    "score_batch_tokens": "speed and memory of scoring",
    "save_minutes": "when checkpoints are written, beside those that are chosen from",
    "gradient_checkpointing": "memory of the backward pass; the gradients are the same",
    "trust_remote_code": "a permission",
    "generation_batch_size": "speed and memory of sampling",
    "kl_prompts": "measured after training",
    "strength": "chosen after training",
    "max_kl": "chosen after training",
}
# Options that only change when, and by which samples, a checkpoint is chosen.
IF_NOTHING_SELECTS = {
    "save_steps": "when checkpoints are written",
    "eval_steps": "when the loss of validation prompts is measured",
    "reward_function": "rewards responses after training",
    "samples_per_prompt": "responses drawn after training",
    "max_new_tokens": "responses drawn after training",
    "temperature": "responses drawn after training",
    "top_k": "responses drawn after training",
    "top_p": "responses drawn after training",
}
# Options that say which rows are read; the rows themselves are compared by their fingerprints.
ROWS = (*(key_of(item.name) for item in fields(DataOptions)), "chosen", "rejected", "desirable", "reference_samples")
PARTS = {
    "train": "training rows",
    "validation": "validation rows",
    "held_out": "held-out rows",
    "reference_samples": "reference samples",
}


def last_checkpoint(folder: Path) -> Path:
    """The newest whole checkpoint; the faults of newer ones are logged.

    Raises:
        ConfigError: there is none.
    """
    checkpoints = folder / "checkpoints"
    found, faults = newest_whole(checkpoints)
    said = [f"{checkpoint}: {fault}" for checkpoint, fault in faults.items()]
    if found is not None:
        for line in said:
            logger.warning("damaged checkpoint, not used: %s", line)
        return found
    if faults:
        every = "\n".join(f"  {line}" for line in said)
        raise ConfigError(
            f"--resume: no whole checkpoint in {checkpoints}:\n{every}\nStart a new run with another --out or "
            "--overwrite."
        )
    finished = ", and the run is finished" if (folder / "metrics.json").exists() else ""
    raise ConfigError(
        f"--resume: no checkpoint in {checkpoints}{finished}. Checkpoints are written by --save-minutes and "
        "--save-steps; start a new run with another --out or --overwrite."
    )


def earlier_record(folder: Path) -> dict[str, Any]:
    """The manifest of the run to continue.

    Raises:
        ConfigError: it is missing, broken, or of another command.
    """
    check_verb(folder, "train")
    file = folder / MANIFEST
    try:
        found = read_json(file)
        return found | {"config": dict(found["config"]), "fingerprint": dict(found["fingerprint"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--resume: {file} cannot be read ({error!r}), so nothing says with what settings the checkpoints were "
            "made. Start a new run with another --out."
        ) from error


def check_same_run(
    options: TrainConfig, before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """The options that the user allows to change, each with its value before and now.

    Raises:
        ConfigError: names every other difference between the manifest of the run and that of its continuation.
    """
    now = as_written(now)
    rows = [
        f"{text} (fingerprint): {old} → {new}"
        for part, text in PARTS.items()
        if (old := before["fingerprint"].get(part)) != (new := now["fingerprint"].get(part))
    ]
    old_config, new_config = _with_defaults(before["config"]), now["config"]
    free = {*MAY_DIFFER, *([] if options.selects() or options.measured() else IF_NOTHING_SELECTS)}
    free |= set() if rows else set(ROWS)
    found = {name: (old_config[name], new) for name, new in new_config.items() if name not in free}
    found = {name: (old, new) for name, (old, new) in found.items() if old != new}
    changed = {name: values for name, values in found.items() if name in options.may_change()}
    if "auto" in changed.get("lr", ()):
        raise ConfigError("--allow-changed lr: auto is a search before the first step; give a number.")
    settings = [f"{flags([name])}: {old!r} → {new!r}" for name, (old, new) in found.items() if name not in changed]
    objective = before.get("objective", {}), now.get("objective", {})
    settings += [
        f"objective, {name}: {old!r} → {new!r}"
        for name in ({} if settings else {**objective[0], **objective[1]})  # the same options, another default
        if (old := objective[0].get(name)) != (new := objective[1].get(name))
    ]
    processes = before.get("processes", now["processes"]), now["processes"]
    if processes[0] != processes[1]:
        settings.append(f"processes: {processes[0]} → {processes[1]}")
    if rows or settings:
        allowed = [name for name in CHANGEABLE if name in found]
        fixed = rows or len(settings) > len(allowed)
        advice = f", allow the change by --allow-changed {','.join(allowed)}" if allowed and not fixed else ""
        differences = "\n".join(f"  {line}" for line in [*rows, *settings])
        raise ConfigError(
            f"--resume: the run in {options.out} was started with other settings or rows (before → now):\n"
            f"{differences}\nIts checkpoints belong to those. Use the old ones{advice}, or start a new run with "
            "another --out or --overwrite."
        )
    return changed


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run that an earlier version may have started; new options are at their defaults."""
    defaults = {key_of(item.name): None if item.default is MISSING else item.default for item in fields(TrainConfig)}
    return as_written(defaults | dict(config))
