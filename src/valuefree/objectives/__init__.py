"""④ Objectives: pure functions, one value per response, and one frozen dataclass each that binds the knobs."""

from valuefree.objectives.asymre import AsymRE, asymre_loss
from valuefree.objectives.base import Objective, ObjectiveInputs, ObjectiveOutput, TrainingRows
from valuefree.objectives.dro import DRO, dro_loss
from valuefree.objectives.grpo import GRPO, grpo_loss
from valuefree.objectives.kto import KTO, kto_loss
from valuefree.objectives.nca import NCA, nca_loss
from valuefree.objectives.pairwise import DPO, IPO, SLiC, dpo_loss, ipo_loss, pairs_within, slic_loss
from valuefree.objectives.rpo import RPO, rpo_loss
from valuefree.objectives.sft import SFT, sft_loss
from valuefree.objectives.topr import TOPR, topr_loss

__all__ = [
    "DPO",
    "DRO",
    "GRPO",
    "IPO",
    "KTO",
    "NCA",
    "RPO",
    "SFT",
    "TOPR",
    "AsymRE",
    "Objective",
    "ObjectiveInputs",
    "ObjectiveOutput",
    "SLiC",
    "TrainingRows",
    "asymre_loss",
    "dpo_loss",
    "dro_loss",
    "grpo_loss",
    "ipo_loss",
    "kto_loss",
    "nca_loss",
    "pairs_within",
    "rpo_loss",
    "sft_loss",
    "slic_loss",
    "topr_loss",
]
