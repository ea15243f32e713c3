"""The gallery doctor: what is wrong with a gallery, what to photograph next, and whom to blame for wrong answers."""

from eyas.doctor.blame import blame
from eyas.doctor.blame_page import write_blame
from eyas.doctor.examine import examine
from eyas.doctor.findings import Findings
from eyas.doctor.page import write_findings
from eyas.doctor.verdicts import Blame

__all__ = ["Blame", "Findings", "blame", "examine", "write_blame", "write_findings"]
