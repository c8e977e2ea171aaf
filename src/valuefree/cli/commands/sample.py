"""``valuefree sample``: responses of the reference itself, and their rewards."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from valuefree.cli import show
from valuefree.cli.commands.from_options import decoding_of, load_on_device, read_prompts
from valuefree.cli.options.sample import SampleConfig
from valuefree.cli.output import bars
from valuefree.data.prompts import Prompt
from valuefree.data.sources import rows_of
from valuefree.data.validation import RowError
from valuefree.errors import DataError, number_of
from valuefree.evaluation.generation import generate_ids, response_texts, stops_of
from valuefree.evaluation.outputs import answered
from valuefree.evaluation.reward_functions import RewardFunction, load_reward, rewards_of
from valuefree.runs.files import write_jsonl

SCORED_AT_A_TIME = 1024


@dataclass(frozen=True)
class Samples:
    """The file written; rows in it; of the sampled ones how many were cut at max_new_tokens, and how many are empty."""

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
    cut = 0
    if options.responses is not None:
        prompts, texts = read_responses(options.responses, options.prompt, options.response)
    else:
        asked = read_prompts(str(options.prompts), options.prompt)
        model, tokenizer = load_on_device(options)
        decoding = decoding_of(options, options.seed)
        _, ids = generate_ids(model, tokenizer, asked, decoding, samples=options.samples, progress=bars())
        texts = response_texts(model, tokenizer, ids)
        prompts = [prompt for prompt in asked for _ in range(options.samples)]
        stops = stops_of(model, tokenizer)
        cut = sum(answer[-1] not in stops for answer in ids)
    file = Path(options.out)
    rows = [{"prompt": prompt, "response": text} for prompt, text in zip(prompts, texts, strict=True)]
    if options.responses is None:
        write_jsonl(file, rows)  # before scoring, which may fail
    if score is not None:
        rewards = _rewards(score, prompts, texts)
        write_jsonl(file, [row | {"reward": reward} for row, reward in zip(rows, rewards, strict=True)])
    return Samples(file, len(rows), cut, sum(not text.strip() for text in texts))


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
