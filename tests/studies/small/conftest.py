"""A world of seconds: the sizes of a study shrunk until only its workings are left."""

from pathlib import Path

import pytest

from studies.small.models import KINDS
from studies.small.scale import Scale
from studies.small.world import make_reference

TINY = Scale(
    reference_steps=3,
    reference_batch=8,
    behaviour_steps=1,
    train_prompts=6,
    batch=12,
    checkpoints=(1, 2),
    warmup_steps=0,
    test_prompts=6,
    test_pool=12,
    samples=2,
    validation_samples=2,
    lrs=(1e-3,),
    strengths=1,
    seeds=2,
    control_seeds=1,
)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for kind in KINDS:
        make_reference(folder, kind, TINY)
    return folder
