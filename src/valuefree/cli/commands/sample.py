"""``valuefree sample``: responses of the reference itself, and their rewards."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from valuefree.cli import show
from valuefree.cli.commands.from_options import decoding_of, load_on_device, read_prompts
from valuefree.cli.commands.responses_file import Sampled, progress_file, resumed, sample_responses, settings_of
from valuefree.cli.options.sample import SampleConfig
from valuefree.cli.output import bars
from valuefree.data.prompts import Prompt
from valuefree.data.sources import rows_of
from valuefree.data.validation import RowError
from valuefree.errors import DataError, number_of
from valuefree.evaluation.outputs import answered
from valuefree.evaluation.reward_functions import RewardFunction, load_reward, rewards_of
from valuefree.runs.files import write_jsonl

logger = logging.getLogger(__name__)

SCORED_AT_A_TIME = 1024


@dataclass(frozen=True)
class Samples:
    """The file written; rows in it; how many of the sampled ones were cut at max_new_tokens; how many are empty."""

    file: Path
    rows: int
    cut: int
    empty: int

    def __str__(self) -> str:
        said = [f"{self.rows} rows: {self.file}"]
        if self.cut:
            said.append(
                f"{self.cut} were cut at max_new_tokens and have no end; as training data they want "
                "--max-response-length of that many tokens"
            )
        if self.empty:
            said.append(f"{self.empty} say nothing; training and --reference-samples leave them out with --on-bad drop")
        return "\n".join(said)


def sample(options: SampleConfig) -> Samples:
    """Sample `samples` responses per prompt, or take those of a file; reward them if asked to; write JSON lines.

    Raises:
        DataError: rows of the file that cannot be used; rewards that are missing or not finite.
    """
    score = load_reward(options.score) if options.score is not None else None  # before an hour of sampling
    file = Path(options.out)
    if options.responses is not None:
        prompts, texts = read_responses(options.responses, options.prompt, options.response)
        sampled = Sampled(texts, cut=0)
    else:
        asked = read_prompts(str(options.prompts), options.prompt)
        prompts = [prompt for prompt in asked for _ in range(options.samples)]
        sampled = _sample(asked, file, options)
    if score is not None:
        try:
            rewards = _rewards(score, prompts, sampled.texts)
        except (Exception, KeyboardInterrupt):
            if options.responses is None:
                logger.info("all %s responses are in %s; with --resume they are rewarded", len(sampled.texts), file)
            raise
        columns = zip(prompts, sampled.texts, rewards, strict=True)
        write_jsonl(file, [{"prompt": p, "response": text, "reward": reward} for p, text, reward in columns])
    if options.responses is None:
        progress_file(file).unlink(missing_ok=True)
    return Samples(file, len(sampled.texts), sampled.cut, sum(not text.strip() for text in sampled.texts))


def _sample(prompts: list[Prompt], file: Path, options: SampleConfig) -> Sampled:
    settings = settings_of(options) | {"samples": options.samples}
    found = resumed(file, prompts, options.samples, settings) if options.resume else None
    if found and len(found.texts) == len(prompts) * options.samples:
        return found
    model, tokenizer = load_on_device(options)
    decoding = decoding_of(options, options.seed)
    return sample_responses(
        model, tokenizer, prompts, decoding, samples=options.samples, file=file, settings=settings, found=found
    )


def _rewards(score: RewardFunction, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    rewards: list[float] = []
    for start in tqdm(range(0, len(texts), SCORED_AT_A_TIME), desc="score", leave=False, disable=not bars()):
        part = slice(start, start + SCORED_AT_A_TIME)
        rewards += rewards_of(score, prompts[part], texts[part]).tolist()
    return rewards


def read_responses(source: str, prompt: str, response: str) -> tuple[list[Prompt], list[str]]:
    """Prompts and responses of a file, row by row; an empty response is one, too.

    Raises:
        DataError: faults, each with file, line and reason, or no rows.
    """
    prompts, texts, faults = [], [], []
    for row in rows_of(source, None):
        try:
            asked, text = answered(row, prompt, response)
        except RowError as fault:
            faults.append(f"{row.where}: {fault}")
            continue
        prompts.append(asked)
        texts.append(text)
    if faults:
        raise DataError.from_faults(
            f"{number_of(len(faults), 'row')} of {source} cannot be scored:", faults, "Fix these rows."
        )
    if not texts:
        raise DataError(f"{source} holds no rows to score.")
    return prompts, texts


def command(options: SampleConfig) -> None:
    """Sample or score responses and say where they are."""
    if options.dry_run:
        if options.responses is not None:
            found = f"{len(read_responses(options.responses, options.prompt, options.response)[0])} responses"
        else:
            prompts = len(read_prompts(str(options.prompts), options.prompt))
            found = f"{prompts} prompts, {options.samples} responses each: {prompts * options.samples}"
        show.settings(options, found)
        return
    print(sample(options))
