"""Make the demo's feedback: sample SmolLM2-135M-Instruct on the demo's prompts and check each answer by program.

    python -m valuefree.demo.make_feedback [--out FILE] [--samples 4] [--seed 0]

The result is committed as ``feedback.jsonl`` beside this file; nobody needs to run this to use the demo.
"""

import argparse
import json
from pathlib import Path

from valuefree.demo.smollm2 import smollm2_folder
from valuefree.demo.tasks import make_tasks
from valuefree.demo.verifiers import constraint_reward
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.models.load import load_model

FEEDBACK = Path(__file__).with_name("feedback.jsonl")
DECODING = Decoding(max_new_tokens=40, temperature=0.7, top_k=50, top_p=1.0, batch_size=64)


def main() -> None:
    """Sample, reward, write one line per prompt."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=FEEDBACK, help="where to write (default: the committed file)")
    parser.add_argument("--samples", type=int, default=4, help="answers per prompt (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of prompts and sampling (default: 0)")
    arguments = parser.parse_args()
    tasks = make_tasks(arguments.seed)
    model, tokenizer = load_model(str(smollm2_folder()))
    _, ids = generate_ids(
        model, tokenizer, [task.prompt for task in tasks], DECODING, samples=arguments.samples, progress=True
    )
    answers = [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
    with arguments.out.open("w", encoding="utf-8") as file:
        for index, task in enumerate(tasks):
            mine = answers[index * arguments.samples : (index + 1) * arguments.samples]
            row = {
                "prompt": task.prompt,
                "constraints": task.constraints,
                "topic_words": task.topic_words,
                "responses": [
                    {"text": text, "reward": constraint_reward(text, task.constraints, task.topic_words)}
                    for text in mine
                    if text
                ],
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
