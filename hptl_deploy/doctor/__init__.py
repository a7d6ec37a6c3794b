"""What this machine can run, and how to get the rest: facts (`examine`), then what they mean.

examine   asks every library in a process of its own; nothing it does can end this one
judge     which engine would run, step by step, and what would help
"""

from hptl_deploy.doctor.examination import examine
from hptl_deploy.doctor.findings import Findings, Verdict
from hptl_deploy.doctor.verdict import judge

__all__ = ["Findings", "Verdict", "examine", "judge"]
