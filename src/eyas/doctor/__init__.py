"""The gallery doctor: `examine` says what is wrong with a gallery and what to photograph next."""

from eyas.doctor.examine import examine
from eyas.doctor.findings import Findings
from eyas.doctor.page import write_findings

__all__ = ["Findings", "examine", "write_findings"]
