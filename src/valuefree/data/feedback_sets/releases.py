"""Releases of UltraFeedback, with and without the fault of the tens, told by their counts.

The annotation script wrote ``overall_score = score if score > 1 else 10 * score``: a critique score of 1 became 10
(OpenBMB/UltraFeedback issue 8, ``annotate_critique.py`` at e662fd2). The authors mended the set on 2023-12-29 (revision
40b4365): a ten with a fine-grained mean of at most 2 became 1, one of at most 4 was asked for again, others stayed.
"""

from dataclasses import dataclass

UNFIXED_TENS = 2_628  # completions with overall_score 10 in the first release, as its README counts them


@dataclass(frozen=True)
class Release:
    """A release known by its number of rows; `fixed` is None where the fault cannot touch it."""

    schema: str
    rows: int
    name: str
    fixed: bool | None


H4 = "HuggingFaceH4/ultrafeedback_binarized"
HUB_SPLITS = {H4: "train_prefs"}  # where the split is not called train
RELEASES = (
    Release("ultrafeedback-binarized", 61_966, f"{H4} before January 2024 (commit 6221885)", fixed=False),
    Release("ultrafeedback-binarized", 61_135, f"{H4} since January 2024", fixed=True),
    Release("argilla-binarized", 60_917, "argilla/ultrafeedback-binarized-preferences-cleaned", fixed=None),
)


@dataclass(frozen=True)
class Recognised:
    """What release it is: its name, None for unknown; whether it is mended, None for unknown; and how that is known."""

    name: str | None
    fixed: bool | None
    why: str

    def __str__(self) -> str:
        state = {True: ", mended", False: ", NOT mended: a critique score of 1 stands as 10", None: ""}[self.fixed]
        return f"release: {self.name or 'not recognised'}{state} ({self.why})"


def recognise(schema: str, rows: int, tens: int, certain: int) -> Recognised:
    """Which release the counts tell.

    Args:
        schema: of the rows.
        rows: how many were read.
        tens: responses with an overall score of 10.
        certain: of these, those with a fine-grained mean of at most 2, of which the mended release has none.
    """
    for release in RELEASES:
        if (release.schema, release.rows) == (schema, rows):
            return Recognised(release.name, release.fixed, f"{rows} rows")
    if schema == "ultrafeedback" and tens == UNFIXED_TENS:
        return Recognised("openbmb/UltraFeedback before 2023-12-29", fixed=False, why=f"{tens} tens")
    if schema == "ultrafeedback" and certain:
        name = "openbmb/UltraFeedback before 2023-12-29, or a part of it"
        return Recognised(name, fixed=False, why=f"{certain} tens with a fine-grained mean of at most 2")
    return Recognised(None, None, f"{rows} rows")
