"""Table I and section VI of the paper, measured in worlds whose optimum is known. No torch until a task runs."""

from valuefree.study.paper.claims.figures import claim_figures
from valuefree.study.paper.claims.finding import Finding
from valuefree.study.paper.claims.findings import claim_findings
from valuefree.study.paper.claims.plan import claim_tasks
from valuefree.study.paper.claims.tables import ClaimTable, claim_tables

__all__ = ["ClaimTable", "Finding", "claim_figures", "claim_findings", "claim_tables", "claim_tasks"]
