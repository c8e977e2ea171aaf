"""The settings that are compared, one table. No torch."""

from dataclasses import dataclass

BASE = "base"
TRUE = "base, true rewards"  # the base trained without noise, for comparison
TUNING_SEEDS = range(100, 104)


@dataclass(frozen=True)
class Candidate:
    """A setting of a run; the defaults are the base setting.

    family: of variants, one of which is reported. rank: of the adapter. upper_half: adapters on the upper half of the
    layers only. dropout: of the adapter. weight_decay: of AdamW. averaged: share of the steps, the last ones, over
    which the weights are averaged. own: weight of a response's own logged reward; the rest is a prediction from the
    hidden states of the reference, fitted on other prompts.
    """

    name: str
    family: str
    rank: int = 16
    upper_half: bool = False
    dropout: float = 0.0
    weight_decay: float = 0.0
    averaged: float = 0.0
    own: float = 1.0


CANDIDATES: dict[str, Candidate] = {
    candidate.name: candidate
    for candidate in (
        Candidate(BASE, BASE),
        Candidate("dropout .1", "dropout", dropout=0.1),
        Candidate("dropout .3", "dropout", dropout=0.3),
        Candidate("weight decay 3", "weight decay", weight_decay=3.0),
        Candidate("upper half", "upper half", upper_half=True),
        Candidate("rank 2", "smaller rank", rank=2),
        Candidate("rank 4", "smaller rank", rank=4),
        Candidate("mean of last half", "averaged weights", averaged=0.5),
        Candidate("shrunk by half", "shrunk rewards", own=0.5),
        Candidate("predicted only", "shrunk rewards", own=0.0),
    )
}


@dataclass(frozen=True)
class Cell:
    """One run. noise: standard deviation of the noise on the rewards, in true ones within a prompt."""

    kind: str
    noise: float
    candidate: str
    seed: int

    @property
    def setting(self) -> str:
        """Its name in tables."""
        return self.candidate if self.noise else TRUE

    @property
    def tuning(self) -> bool:
        """Whether it chooses among variants, and is measured on validation prompts."""
        return self.seed in TUNING_SEEDS

    @property
    def name(self) -> str:
        """Of the cell's file."""
        return f"{self.kind}-noise{self.noise:g}-{self.candidate.replace(' ', '-')}-seed{self.seed}"
