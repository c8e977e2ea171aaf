"""④ Objectives: pure functions, one value per response, and one frozen dataclass each that binds the knobs."""

from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput
from valuefree.objectives.rpo import RPO, rpo_loss
from valuefree.objectives.sft import SFT, sft_loss

__all__ = ["RPO", "SFT", "Objective", "ObjectiveInputs", "ObjectiveOutput", "rpo_loss", "sft_loss"]
