"""``valuefree generate``: one response per prompt, from a model in this process or from a server."""

import os
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from valuefree.cli import show
from valuefree.cli.commands.from_options import decoding_of, load_on_device, read_prompts
from valuefree.cli.commands.responses_file import (
    end_last_line,
    progress_file,
    read_rows,
    resumed,
    sample_responses,
    settings_of,
)
from valuefree.cli.options.generate import GenerateConfig
from valuefree.cli.options.groups import TOP_K
from valuefree.cli.output import bars
from valuefree.data.prompts import Prompt
from valuefree.data.validation import prompt_key
from valuefree.errors import ServingError
from valuefree.evaluation.openai_client import ask
from valuefree.evaluation.outputs import write_outputs
from valuefree.runs.files import json_line


def generate(options: GenerateConfig) -> Path:
    """One response per prompt: JSON lines, written while they are made, or alpaca_eval's outputs.json if `out` ends so.

    Raises:
        ServingError: prompts that the server left without an answer; the answers of the others are written.
    """
    file = Path(options.out)
    prompts = read_prompts(options.prompts, options.prompt)
    if options.server is not None:
        return _generate_remote(prompts, file, options, options.server)
    if options.top_k is None:
        options = replace(options, top_k=TOP_K)
    settings = settings_of(options)
    found = resumed(file, prompts, 1, settings) if options.resume else None
    model, tokenizer = load_on_device(options)
    decoding = decoding_of(options, options.seed)
    if file.suffix == ".json":
        texts = sample_responses(model, tokenizer, prompts, decoding).texts
        write_outputs(file, prompts, texts, name=options.model)
    else:
        sample_responses(model, tokenizer, prompts, decoding, file=file, settings=settings, found=found)
        progress_file(file).unlink(missing_ok=True)
    return file


def _generate_remote(prompts: list[Prompt], file: Path, options: GenerateConfig, server: str) -> Path:
    """Ask a server; each answer is written as soon as those before it are there, so that --resume finds it."""
    answered = {prompt_key(row["prompt"]) for row in read_rows(file)} if options.resume else set()
    if options.resume:
        end_last_line(file)
    missing = [prompt for prompt in prompts if prompt_key(prompt) not in answered]
    names = ("model", "api_key_env", "key_over_http", "concurrency", "timeout_seconds", "max_retries")
    settings = {name: getattr(options, name) for name in names}
    if options.top_k is None:
        options = replace(options, top_k=0)  # is not sent: the interface has no such field, and some servers refuse it
    answers = ask(missing, server=server, decoding=decoding_of(options, options.seed), **settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    errors = []
    with file.open("a" if options.resume else "w", encoding="utf-8", buffering=1) as stream:
        shown = tqdm(answers, desc="ask", total=len(missing), leave=False, disable=not bars())
        for prompt, answer in zip(missing, shown, strict=True):
            if answer.text is None:
                errors.append(answer.error)
            else:
                stream.write(json_line({"prompt": prompt, "response": answer.text}))
        deleted = os.fstat(stream.fileno()).st_nlink == 0
    if deleted:
        raise ServingError(f"{file} was deleted while answers were written into it; run the command again.")
    if errors:
        raise ServingError(
            f"{len(errors)} of {len(missing)} prompts have no answer (first error: {errors[0]}). The others are in "
            f"{file}; the same command with --resume asks for the rest."
        )
    return file


def command(options: GenerateConfig) -> None:
    """Sample responses and say where they are."""
    if options.dry_run:
        show.settings(options, f"{len(read_prompts(options.prompts, options.prompt))} prompts")
        return
    print(f"written: {generate(options)}")
