from dataclasses import dataclass
@dataclass
class Finding: pass
def claim_findings(r): return []
