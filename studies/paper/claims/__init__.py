"""Table I and section VI of the paper, measured in worlds whose optimum is known. No torch until a task runs."""

from studies.paper.claims.figures import claim_figures
from studies.paper.claims.findings import claim_findings
from studies.paper.claims.plan import carry_out, trials_of
from studies.paper.claims.tables import claim_tables

__all__ = ["carry_out", "claim_figures", "claim_findings", "claim_tables", "trials_of"]
