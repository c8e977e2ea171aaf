"""The comparisons and their expected results. Imports no torch, so that the parent process stays small."""

from dataclasses import dataclass

MICRO_BATCH = 8  # responses, on every side
SCALE_ROWS = 1600  # of the set whose batches are counted without training on them
SMOKE_ROWS = 16


@dataclass(frozen=True)
class Comparison:
    """One comparison: ours against theirs.

    Args:
        what: description for the table. family: ``t5`` or ``llama``. per_prompt: responses per prompt.
        rows: rows of the default run; a side then takes about a minute on two cores at 100 GFLOP/s.
        speed: smallest expected ratio of responses per second. memory: largest expected ratio of memory.
        sides: in the order in which they run; sides that end in ``_memory`` measure memory only.
        at_scale: whether to count the operations of the batches of a larger data set, too.
    """

    name: str
    what: str
    family: str
    per_prompt: int
    rows: int
    speed: float
    memory: float | None = None
    sides: tuple[str, ...] = ("ours", "theirs")
    at_scale: bool = False


# With these settings the C library returns freed memory to the system, so that the peak measures memory in use. They
# cost a third of the speed, so memory and speed are measured by different sides.
RETURN_FREED_MEMORY = (
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
)

COMPARISONS = {
    comparison.name: comparison
    for comparison in (
        Comparison(
            "algorithm1",
            "Scoring, partition and one epoch of RPO, against Algorithm 1 of the paper written plainly: every input "
            "padded to the longest, the reference run again in every step, all logits at once (encoder-decoder)",
            *("t5", 4, 40, 3.0),
        ),
        Comparison(
            "sft_t5_4",
            "Training step of RPO against supervised fine-tuning by Seq2SeqTrainer with length grouping "
            "(encoder-decoder, 4 responses a prompt)",
            *("t5", 4, 80, 1.1),
            at_scale=True,
        ),
        Comparison(
            "sft_t5_1",
            "The same with 1 response a prompt: nothing is shared",
            *("t5", 1, 80, 0.95),
            at_scale=True,
        ),
        Comparison(
            "sft_decoder_4",
            "Training step of RPO against supervised fine-tuning by TRL's SFTTrainer with length grouping "
            "(decoder, 4 responses a prompt)",
            *("llama", 4, 24, 1.15),
            at_scale=True,
        ),
        Comparison(
            "kto_decoder_4",
            "One epoch of RPO against one of TRL's KTOTrainer, reference scores of both made beforehand "
            "(decoder, 4 responses a prompt)",
            *("llama", 4, 24, 1.7),
            memory=0.7,
            at_scale=True,
        ),
        Comparison(
            "head_memory",
            "A step whose head runs in chunks against one with all logits at once "
            "(encoder-decoder, 16 × 512 response tokens)",
            *("t5", 1, 16, 0.85),
            memory=0.3,
            sides=("ours", "theirs", "without_memory", "ours_memory", "theirs_memory"),
        ),
        Comparison(
            "scoring_decoder",
            "Reference scoring against a bare forward pass, row by row, without any padding (decoder)",
            *("llama", 4, 64, 0.9),
        ),
        Comparison(
            "scoring_t5",
            "Reference scoring against a bare forward pass, row by row, without any padding (encoder-decoder)",
            *("t5", 4, 160, 0.9),
        ),
    )
}


@dataclass(frozen=True)
class Setting:
    """One side of one comparison, which one process runs.

    size: size of the model: ``full``, ``smoke`` (two narrow layers, short rows) or ``toy`` (one layer of width eight,
    rows of full length, to count the shapes of batches only).
    """

    name: str
    side: str
    rows: int
    size: str = "full"
    seed: int = 0

    @property
    def comparison(self) -> Comparison:
        """The comparison that this side belongs to."""
        return COMPARISONS[self.name]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of its process, in addition to those of the parent process."""
        return dict(RETURN_FREED_MEMORY) if self.side.endswith("_memory") else {}


def named(names: list[str]) -> list[Comparison]:
    """The comparisons whose names begin with one of `names`; all if `names` is empty.

    Raises:
        ValueError: no comparison begins with one of the names.
    """
    for name in names:
        if not any(known.startswith(name) for known in COMPARISONS):
            raise ValueError(f"no comparison is named {name!r}; choose from {', '.join(COMPARISONS)}.")
    return [c for c in COMPARISONS.values() if not names or any(c.name.startswith(name) for name in names)]
