"""Seconds and memory to convert published weights (`.pdparams`) to a bundle, and to open the bundle afterwards.

Bars, for PP-YOLOE_plus_SOD-S: 20 s to convert, 1.5 s to open what was converted before, and for every model a peak of
resident memory below 3 times the file.  The
weights are random ones of the right names and shapes: how long it takes does not depend on their values, but for the
boxes that the check suppresses.  CLIP's large network takes minutes: only with --large.

    python benchmarks/convert.py [--large] [--json FILE]
"""

import sys
import tempfile
from pathlib import Path

from common import machine, options, report
from startup import EYAS, run

from eyas.store import STORE

MODELS = (
    "PP-YOLOE_plus_SOD-S", "PP-YOLOE_plus_SOD-L", "PP-ShiTuV2_det", "PP-ShiTuV2_rec", "PP-ShiTuV2_rec_CLIP_vit_base",
)  # fmt: skip
LARGE = ("PP-YOLOE_plus_SOD-largesize-L", "PP-ShiTuV2_rec_CLIP_vit_large")
# Processes of their own: what this one holds in memory would count for those that it starts.
WRITE = """
import pickle, sys
from eyas.models import build
from eyas.models.weights import to_published
name, classes, path = sys.argv[1:]
with open(path, "wb") as stream:
    pickle.dump(to_published(build(name, int(classes)).state_dict()), stream, protocol=4)
"""
OPEN = "import sys; from eyas import create_model; create_model(model_dir=sys.argv[1])"


def measure(name: str, folder: Path) -> dict[str, object]:
    """A row of the table."""
    weights = folder / f"{name}_pretrained.pdparams"
    run([sys.executable, "-c", WRITE, name, str(len(STORE[name].classes) or 20), str(weights)])
    seconds, peak = run([EYAS, "convert", str(weights), str(folder / "bundle"), "-q"])
    run([sys.executable, "-c", OPEN, str(folder / "bundle")])
    opened, _ = run([sys.executable, "-c", OPEN, str(folder / "bundle")])
    size = weights.stat().st_size / 1e6
    return {
        "model": name, "file MB": size, "convert s": seconds, "peak MB": peak, "x file": peak / size,
        "open s": opened,
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = options(__doc__ or "", rounds=1)
    parser.add_argument("--large", action="store_true", help="also the largest networks")
    asked = parser.parse_args()
    names = (*MODELS, *(LARGE if asked.large else ()))
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(name, Path(folder)))
    report("From Paddle's weights to a bundle", rows, machine("eyas", "torch", "openvino", "onnxruntime"), asked.json)


if __name__ == "__main__":
    main()
