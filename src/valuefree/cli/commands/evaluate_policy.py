"""``valuefree evaluate`` with a reward function: a policy against its reference."""

from pathlib import Path

from valuefree.cli.commands.from_options import decoding_of, load, load_on_device, read_prompts
from valuefree.cli.commands.measure import output_of
from valuefree.cli.options.evaluate import EvaluateConfig
from valuefree.cli.output import bars
from valuefree.data.seen_prompts import SeenPrompts
from valuefree.evaluation.policy_evaluation import Evaluation, evaluate
from valuefree.evaluation.reward_functions import check_reward, load_reward
from valuefree.report import read_report, write_report
from valuefree.runs.files import write_json, write_jsonl
from valuefree.runs.manifest import COMPLETIONS, fingerprint, manifest
from valuefree.runs.run_folder import MANIFEST


def evaluate_policy(options: EvaluateConfig) -> tuple[Evaluation, Path]:
    """Rewards of a policy against its reference; writes manifest.json, metrics.json, completions.jsonl, the report."""
    output = output_of(options)
    prompts = read_prompts(str(options.prompts), options.prompt)
    reward_function = load_reward(str(options.reward_function))
    check_reward(reward_function, prompts[:2], ["Yes.", "No."][: len(prompts)], name=str(options.reward_function))
    known = SeenPrompts.of_model(options.model[0])
    record = manifest(
        "evaluate", options.to_dict(), given=options.given(), fingerprint=fingerprint({"prompt": prompts})
    )
    policy, tokenizer = load_on_device(options, options.model[0])
    reference = load(options, options.reference)[0] if options.reference else None
    evaluation = evaluate(
        policy,
        tokenizer,
        prompts,
        reward_function,
        reference=reference,
        decoding=decoding_of(options, options.seed),
        samples_per_prompt=options.samples_per_prompt,
        kl_prompts=options.kl_prompts,
        seen=known.among(prompts) if known is not None else None,
        progress=bars(),
    )
    folder = output.path
    output.open()
    write_json(folder / MANIFEST, record)
    write_json(folder / "metrics.json", evaluation.to_dict())
    write_jsonl(folder / COMPLETIONS, evaluation.completions)
    write_report(read_report([folder]), folder)
    output.close()
    return evaluation, folder
