"""Make the demo's feedback: sample SmolLM2-135M-Instruct on 240 prompts and check each answer by program.

    python scripts/demo_feedback.py [--out FILE] [--samples 4] [--seed 0]

Each prompt is an everyday instruction with one or two constraints that a program can check. The result is committed as
``src/valuefree/demo/feedback.jsonl``; the demo itself does not need this script.
"""

import argparse
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from valuefree.demo.data import FEEDBACK
from valuefree.demo.smollm2 import smollm2_folder
from valuefree.demo.verifiers import constraint_reward, describe
from valuefree.evaluation.generation import Decoding, generate_ids
from valuefree.models.load import load_model
from valuefree.runs.files import write_jsonl

DECODING = Decoding(max_new_tokens=40, temperature=0.7, top_k=50, top_p=1.0, batch_size=64)
TOPICS: dict[str, tuple[str, ...]] = {  # topic → words of which one shows that an answer is about it
    "a cup of coffee": ("coffee", "espresso", "brew", "cup"),
    "a rainy day": ("rain", "umbrella", "wet"),
    "growing tomatoes": ("tomato", "garden", "plant"),
    "riding a bicycle": ("bicycl", "bike", "ride", "riding", "cycl"),
    "the summer holidays": ("summer", "holiday", "vacation"),
    "learning the guitar": ("guitar", "chord", "music", "string"),
    "a good night's sleep": ("sleep", "bed", "night", "rest"),
    "walking the dog": ("dog", "walk", "leash", "pet"),
    "baking bread": ("bread", "dough", "bak", "flour"),
    "the public library": ("librar", "book", "read"),
    "a birthday party": ("birthday", "party", "cake", "celebrat"),
    "drinking enough water": ("water", "drink", "hydrat"),
    "packing a suitcase": ("suitcase", "pack", "luggage", "travel"),
    "a mountain hike": ("hik", "mountain", "trail"),
    "cleaning the kitchen": ("clean", "kitchen", "dish"),
    "a train journey": ("train", "journey", "rail", "travel"),
    "looking after houseplants": ("plant", "soil", "water", "leaf", "leaves"),
    "writing a diary": ("diar", "journal", "writ"),
    "a bowl of soup": ("soup", "bowl", "broth"),
    "swimming in the sea": ("swim", "sea", "ocean", "water"),
    "saving money": ("money", "sav", "budget", "spend"),
    "the first day of school": ("school", "day", "class", "teacher"),
    "a family dinner": ("family", "dinner", "meal"),
    "watching the stars": ("star", "sky", "night"),
    "repairing a shirt": ("shirt", "sew", "repair", "button", "fabric"),
    "a visit to the museum": ("museum", "art", "exhibit", "visit"),
    "making a salad": ("salad", "lettuce", "vegetable", "dressing"),
    "playing chess": ("chess", "piece", "game", "move"),
    "a winter morning": ("winter", "morning", "snow", "cold"),
    "running in the park": ("run", "park", "jog"),
    "choosing a present": ("present", "gift", "choos"),
    "a weekend market": ("market", "weekend", "stall", "shop"),
    "learning a language": ("languag", "learn", "word", "speak"),
    "camping in a forest": ("camp", "forest", "tent", "tree"),
    "a phone call to a friend": ("phone", "call", "friend"),
    "painting a room": ("paint", "room", "wall"),
    "feeding the birds": ("bird", "feed", "seed"),
    "a cup of tea": ("tea", "cup", "leaf", "leaves"),
    "taking photographs": ("photo", "camera", "pictur"),
    "moving to a new flat": ("mov", "flat", "apartment", "home"),
    "a job interview": ("interview", "job", "employ"),
    "sharing a meal": ("meal", "shar", "food", "eat"),
    "a walk on the beach": ("beach", "walk", "sand", "sea"),
    "keeping a cat": ("cat", "kitten", "pet"),
    "reading before bed": ("read", "book", "bed"),
    "using public transport": ("transport", "bus", "train"),
    "planting a tree": ("tree", "plant", "root"),
    "a picnic by the lake": ("picnic", "lake", "food"),
    "tidying a desk": ("desk", "tid", "organi", "clutter"),
    "cooking rice": ("rice", "cook", "water"),
    "a city in autumn": ("autumn", "fall", "city", "leaves", "leaf"),
    "meeting a neighbour": ("neighbo", "meet", "hello"),
    "a morning stretch": ("stretch", "morning", "body", "muscle"),
    "recycling at home": ("recycl", "waste", "bin"),
    "a paper airplane": ("paper", "airplane", "fold", "plane", "fly"),
    "a bus ride": ("bus", "ride", "seat"),
    "eating more fruit": ("fruit", "apple", "eat"),
    "an evening without screens": ("screen", "evening", "phone"),
    "a small garden": ("garden", "plant", "flower"),
    "a snowy street": ("snow", "street", "cold", "white"),
}
REQUESTS = ("Describe {}.", "Give a tip about {}.", "Why do people care about {}?", "Write a short note about {}.")
VALUES: dict[str, tuple[Any, ...]] = {
    "at_most_words": (8, 10, 12, 15),
    "full_stop": (None,),
    "no_commas": (None,),
    "one_sentence": (None,),
    "short_words": (8, 9),
    "starts_with": ("The", "To", "It"),
    "include_word": ("good", "time", "you", "simple"),
    "avoid_word": ("the", "and", "is"),
}
WEIGHTS = (4, 3, 2, 2, 2, 1, 1, 1)  # relative frequency of each constraint; length and punctuation are most frequent


@dataclass(frozen=True)
class Task:
    """One prompt of the demo, with the constraints and topic words by which an answer is rewarded."""

    prompt: str
    constraints: tuple[dict[str, Any], ...]
    topic_words: tuple[str, ...]


def _kinds(generator: random.Random) -> list[str]:
    first, second = generator.choices(list(VALUES), WEIGHTS, k=2)
    clash = {first, second} == {"starts_with", "avoid_word"}  # an answer cannot start with "The" and avoid "the"
    return [first] if generator.random() < 0.5 or first == second or clash else [first, second]


def make_tasks(seed: int = 0) -> list[Task]:
    """All 240 prompts, one per topic and request, each with one or two constraints."""
    generator = random.Random(seed)
    tasks = []
    for topic, topic_words in TOPICS.items():
        for request in REQUESTS:
            kinds = _kinds(generator)
            constraints = tuple({"kind": kind, "value": generator.choice(VALUES[kind])} for kind in kinds)
            prompt = " ".join([request.format(topic), *(describe(constraint) for constraint in constraints)])
            tasks.append(Task(prompt, constraints, topic_words))
    return tasks


def main() -> None:
    """Sample and reward the answers, and write one line per prompt."""
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
    rows = []
    for index, task in enumerate(tasks):
        own = answers[index * arguments.samples : (index + 1) * arguments.samples]
        rewards = [constraint_reward(text, task.constraints, task.topic_words) for text in own]
        responses = [{"text": text, "reward": reward} for text, reward in zip(own, rewards, strict=True) if text]
        rows.append(vars(task) | {"responses": responses})
    write_jsonl(arguments.out, rows)


if __name__ == "__main__":
    main()
