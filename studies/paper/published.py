"""What the paper printed (arXiv 2506.13702v1): the numbers of its tables, its settings, its examples, as data.

Keys of a number, each spelt as in the constants below:

======  ====================  =================================================================================
table   row                   column
======  ====================  =================================================================================
II      name of a metric      method and size, "KTO Small"
IIIa/b  size                  baseline that RPO is compared with, "SFT"
IVa/b   size                  τ, "0.1"; RPO against SFT
V       name of a metric      variant, τ and size, "RPO 0.1 Small", "RPO-noNorm 5.0 XL"
VIa/b   size                  τ, "0.1"; RPO against RPO-noNorm
======  ====================  =================================================================================

a is the judgement by Mistral, b that by LLaMA; all four of these tables are win rates of RPO in percent, with what the
paper calls their standard deviation (over what, it does not say). τ is ``str(tau)``.

The bars of Figure 1 carry no numbers in the text, so there are none here. `statements` has what the paper says about
its numbers, and where it contradicts itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studies.paper.statements import CLAIMS, CONTRADICTIONS, UNSTATED, Claim, Contradiction
from valuefree.cli.parse import unknown
from valuefree.errors import ConfigError

__all__ = [
    "BASELINES",
    "CLAIMS",
    "CONTRADICTIONS",
    "EXAMPLES",
    "JUDGES",
    "METHODS",
    "METRICS",
    "NUMBERS",
    "PARAMETERS",
    "SETTINGS",
    "SIZES",
    "TABLES",
    "TABLE_I",
    "TAUS",
    "UNSTATED",
    "VARIANTS",
    "Claim",
    "Contradiction",
    "Example",
    "Metric",
    "Published",
    "Setting",
    "printed",
    "published",
]

SIZES = ("Small", "Large", "XL")
PARAMETERS = {"Small": 77e6, "Large": 783e6, "XL": 2.85e9}
METHODS = ("KTO", "DRO", "RPO")
BASELINES = ("SFT", "KTO", "DRO")
VARIANTS = ("RPO", "RPO-noNorm")
TAUS = (0.1, 1.0, 5.0)
JUDGES = ("Mistral", "LLaMA")  # of the parts a and b of Tables III, IV and VI
TABLES = ("II", "IIIa", "IIIb", "IVa", "IVb", "V", "VIa", "VIb")


@dataclass(frozen=True)
class Metric:
    """A row of Tables II and V: the paper's name, which values are better, and the metric's name in this package."""

    name: str
    better: Literal["higher", "lower"]
    ours: str


METRICS = (
    Metric("BERTScore", "higher", "bertscore"),
    Metric("ROUGE-L", "higher", "rougeL"),
    Metric("BLEU", "higher", "bleu"),
    Metric("SacreBLEU", "higher", "sacrebleu"),
    Metric("METEOR", "higher", "meteor"),
    Metric("Toxicity", "lower", "toxicity"),
)


@dataclass(frozen=True)
class Published:
    """One cell of a table; the module says how cells are named.

    value: in the unit of the table: percent in III, IV and VI, else that of the metric. deviation: what stands after ±.
    """

    table: str
    row: str
    column: str
    value: float
    deviation: float | None = None


def _plain(table: str, columns: Sequence[str], lines: Sequence[Sequence[float]]) -> list[Published]:
    """Cells of a table of metrics, a line per metric."""
    return [
        Published(table, metric.name, column, value)
        for metric, line in zip(METRICS, lines, strict=True)
        for column, value in zip(columns, line, strict=True)
    ]


def _rates(table: str, columns: Sequence[str], lines: Sequence[Sequence[tuple[float, float]]]) -> list[Published]:
    """Cells of a table of win rates, a line of (value, deviation) per size."""
    return [
        Published(table, size, column, value, deviation)
        for size, line in zip(SIZES, lines, strict=True)
        for column, (value, deviation) in zip(columns, line, strict=True)
    ]


_TAU_COLUMNS = [str(tau) for tau in TAUS]

NUMBERS: tuple[Published, ...] = (
    *_plain(
        "II",
        [f"{method} {size}" for method in METHODS for size in SIZES],
        [
            (0.8499, 0.8401, 0.7883, 0.8562, 0.8591, 0.8537, 0.8661, 0.8706, 0.8702),
            (0.2369, 0.2491, 0.2480, 0.2522, 0.3034, 0.2502, 0.2885, 0.3162, 0.2969),
            (0.0293, 0.0438, 0.0108, 0.0173, 0.0274, 0.0419, 0.0360, 0.0464, 0.0511),
            (2.8740, 4.3785, 1.3653, 1.7218, 2.8589, 4.2672, 3.6013, 4.7903, 5.1063),
            (0.2083, 0.2152, 0.203, 0.2029, 0.2337, 0.2153, 0.2418, 0.2632, 0.2567),
            (0.0133, 0.0241, 0.0242, 0.0146, 0.0130, 0.0122, 0.0125, 0.0093, 0.0078),
        ],
    ),
    *_rates(
        "IIIa",
        BASELINES,
        [
            ((82.78, 1.93), (82.60, 2.39), (83.97, 2.34)),
            ((84.20, 1.64), (86.53, 1.77), (84.86, 2.05)),
            ((83.01, 2.39), (93.62, 5.88), (83.19, 0.88)),
        ],
    ),
    *_rates(
        "IIIb",
        BASELINES,
        [
            ((63.66, 1.62), (65.76, 0.59), (65.26, 0.41)),
            ((73.02, 0.52), (72.30, 1.72), (74.81, 0.63)),
            ((68.43, 1.17), (61.18, 9.33), (67.15, 3.60)),
        ],
    ),
    *_rates(
        "IVa",
        _TAU_COLUMNS,
        [
            ((84.45, 1.14), (82.78, 1.93), (83.03, 1.55)),
            ((59.50, 19.62), (84.20, 1.64), (83.72, 1.05)),
            ((90.24, 6.66), (83.01, 2.39), (82.81, 3.76)),
        ],
    ),
    *_rates(
        "IVb",
        _TAU_COLUMNS,
        [
            ((78.73, 1.07), (63.66, 1.62), (66.52, 1.55)),
            ((56.40, 12.21), (73.02, 0.52), (74.86, 1.63)),
            ((82.07, 5.30), (68.43, 1.17), (66.28, 2.48)),
        ],
    ),
    *_plain(
        "V",
        [f"RPO {tau} {size}" for tau in TAUS for size in SIZES],
        [
            (0.8648, 0.8702, 0.8691, 0.8661, 0.8706, 0.8702, 0.8653, 0.8697, 0.8684),
            (0.2861, 0.3143, 0.2951, 0.2885, 0.3162, 0.2969, 0.2872, 0.3150, 0.2958),
            (0.0354, 0.0460, 0.0503, 0.0360, 0.0464, 0.0511, 0.0348, 0.0456, 0.0498),
            (3.5421, 4.7650, 5.0228, 3.6013, 4.7903, 5.1063, 3.5470, 4.7582, 5.0157),
            (0.2401, 0.2619, 0.2551, 0.2418, 0.2632, 0.2567, 0.2403, 0.2626, 0.2559),
            (0.0129, 0.0095, 0.0079, 0.0125, 0.0093, 0.0078, 0.0130, 0.0097, 0.0081),
        ],
    ),
    *_plain(
        "V",
        [f"RPO-noNorm {tau} {size}" for tau in TAUS for size in SIZES],
        [
            (0.7734, 0.7681, 0.7702, 0.7741, 0.7689, 0.7712, 0.7726, 0.7705, 0.7723),
            (0.2063, 0.2028, 0.2051, 0.2089, 0.2043, 0.2067, 0.2115, 0.2078, 0.2101),
            (0.0130, 0.0127, 0.0139, 0.0135, 0.0129, 0.0143, 0.0131, 0.0132, 0.0137),
            (1.2360, 1.2203, 1.2632, 1.2743, 1.2312, 1.2914, 1.2634, 1.2398, 1.2665),
            (0.1749, 0.1694, 0.1726, 0.1762, 0.1708, 0.1736, 0.1780, 0.1719, 0.1741),
            (0.0243, 0.0250, 0.0247, 0.0245, 0.0251, 0.0249, 0.0239, 0.0244, 0.0242),
        ],
    ),
    *_rates(
        "VIa",
        _TAU_COLUMNS,
        [
            ((96.22, 0.91), (95.04, 0.84), (95.77, 1.02)),
            ((94.85, 0.77), (96.13, 0.66), (95.90, 0.58)),
            ((97.34, 0.52), (95.81, 0.63), (96.12, 0.49)),
        ],
    ),
    *_rates(
        "VIb",
        _TAU_COLUMNS,
        [
            ((92.75, 1.13), (91.34, 1.25), (91.80, 0.97)),
            ((90.64, 1.31), (91.76, 0.89), (92.08, 0.74)),
            ((94.21, 1.03), (92.99, 0.85), (93.17, 0.77)),
        ],
    ),
)
_CELLS = {(cell.table, cell.row, cell.column): cell for cell in NUMBERS}


def published(table: str, row: str, column: str) -> Published:
    """The cell of a table; the module says how tables, rows and columns are named.

    Raises:
        ConfigError: an unknown table, row or column, with the nearest and all known ones.
    """
    if (table, row, column) in _CELLS:
        return _CELLS[table, row, column]
    if table not in TABLES:
        raise ConfigError(f"no table {table!r} with numbers; choose from {', '.join(TABLES)}.")
    rows = list(dict.fromkeys(cell.row for cell in NUMBERS if cell.table == table))
    columns = list(dict.fromkeys(cell.column for cell in NUMBERS if cell.table == table))
    kind, name, known = ("column", column, columns) if row in rows else ("row", row, rows)
    raise ConfigError(f"{unknown(f'{kind} of table {table}', name, known)} It has {', '.join(known)}.")


def printed(table: str, row: str, column: str) -> Published | None:
    """As `published`, None where the paper has no such cell: another temperature, say."""
    return _CELLS.get((table, row, column))


TABLE_I: dict[str, tuple[str, str]] = {  # property: of DRO, of RPO
    "Explicit V estimation": ("Yes (model V_φ)", "No (empirical estimation)"),
    "π–V coupling": ("Strong", "Weak"),
    "Optimization complexity": ("Medium to high", "Simpler, more stable"),
    "Robustness to estimation errors": ("Sensitive", "Less sensitive"),
    "Practical deployment": ("Requires tuning", "More direct, no V tuning"),
}


@dataclass(frozen=True)
class Setting:
    """One setting of the paper's experiments: value, and the section that states it."""

    name: str
    value: str | float | tuple[str, ...]
    where: str


SETTINGS: tuple[Setting, ...] = (
    Setting("data", "UltraFeedback, rows of prompt, completion and reward", "IV-A"),
    Setting("rewards", "mean 0 and variance 1 over the data set", "IV-A"),
    Setting("models", tuple(f"Flan-T5 {size}" for size in SIZES), "IV-A"),
    Setting("reference", "the instruction-tuned checkpoint that the policy starts from", "IV-A"),
    Setting("validation prompts", 1000, "IV-B"),
    Setting("reward of the validation responses", 10.0, "IV-B"),
    Setting("metrics", tuple(metric.name for metric in METRICS), "IV-B"),
    Setting("judges", ("Mistral v3", "LLaMA v3"), "IV-B"),
    Setting("verdicts", ("A", "B", "Neutral"), "IV-B"),
    Setting("optimiser", "AdamW", "IV-C"),
    Setting("learning rate", 1e-4, "IV-C"),
    Setting("schedule", "linear warm-up, then linear decay", "IV-C"),
    Setting("warm-up steps", 150, "IV-C"),
    Setting("tau", 1.0, "IV-C"),
    Setting("tau of the ablations", tuple(_TAU_COLUMNS), "IV-F"),
)


@dataclass(frozen=True)
class Example:
    """A prompt of Table VII, and how many words the three answers of the XL models have."""

    prompt: str
    words: dict[str, int]


def _example(prompt: str, rpo: int, dro: int, kto: int) -> Example:
    return Example(prompt, {"RPO": rpo, "DRO": dro, "KTO": kto})


EXAMPLES: tuple[Example, ...] = (
    _example("How can managers build trust with remote teams while maintaining accountability?", 30, 11, 13),
    _example("Explain why excessive screen time may negatively affect children's cognitive development.", 36, 15, 6),
    _example("Is nuclear energy a viable solution for climate change mitigation?", 39, 11, 7),
    _example("What are some effective strategies for learning a new language quickly?", 30, 8, 5),
    _example("Discuss ethical concerns around AI in hiring processes.", 33, 8, 8),
    _example("What are the benefits and risks of using CRISPR for gene editing in humans?", 28, 9, 6),
    _example("How does inflation affect consumers and the broader economy?", 29, 8, 5),
    _example("Can social media improve civic engagement? Discuss with examples.", 36, 10, 6),
    _example("Compare the advantages of public versus private transportation in urban settings.", 29, 11, 8),
    _example("What role does sleep play in memory consolidation?", 31, 7, 4),
)
