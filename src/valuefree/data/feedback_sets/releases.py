"""Releases of UltraFeedback, with and without the faulty tens, recognised by their counts.

The annotation script wrote ``overall_score = score if score > 1 else 10 * score``: a critique score of 1 became 10
(OpenBMB/UltraFeedback issue 8, ``annotate_critique.py`` at e662fd2). The authors corrected the set on 2023-12-29
(revision 40b4365): a ten with a fine-grained mean of at most 2 became 1, one of at most 4 was scored again, others were
kept.
"""

from dataclasses import dataclass

UNFIXED_TENS = 2_628  # completions with overall_score 10 in the first release, as its README counts them


@dataclass(frozen=True)
class Release:
    """A release with a known number of rows; `fixed` is None where the fault does not apply."""

    schema: str
    rows: int
    name: str
    fixed: bool | None


H4 = "HuggingFaceH4/ultrafeedback_binarized"
HUB_SPLITS = {H4: "train_prefs"}  # sets whose training split has another name
RELEASES = (
    Release("ultrafeedback-binarized", 61_966, f"{H4} before January 2024 (commit 6221885)", fixed=False),
    Release("ultrafeedback-binarized", 61_135, f"{H4} since January 2024", fixed=True),
    Release("argilla-binarized", 60_917, "argilla/ultrafeedback-binarized-preferences-cleaned", fixed=None),
)


@dataclass(frozen=True)
class Recognised:
    """A release by name, whether its tens are corrected (None if unknown), and the evidence."""

    name: str | None
    fixed: bool | None
    why: str

    def __str__(self) -> str:
        state = {True: ", corrected", False: ", NOT corrected: a critique score of 1 is stored as 10", None: ""}[
            self.fixed
        ]
        return f"release: {self.name or 'not recognised'}{state} ({self.why})"


def recognise(schema: str, rows: int, tens: int, certain: int) -> Recognised:
    """The release that has these counts.

    Args:
        schema: name of the schema.
        rows: number of rows.
        tens: responses with an overall score of 10.
        certain: those of them with a fine-grained mean of at most 2; the corrected release has none.
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
