"""Seconds of a training step on drawn scenes, and what of it is not training: XS-P2, XS and S, float32 and bfloat16.

Bar: at most 10 % of a step outside forward, loss, backward and optimiser on two cores; "outside" is all the rest, from
the end of one update to the start of the next forward pass: waiting for the batch, the weight average, the log.
`Trainer` runs as in `eyas train`, one loader process included, with the recipe for small data (crops of 320x320,
16 a step) for all three, and is stopped after the steps that are measured.  The first steps are left out.

    python benchmarks/training.py [--rounds 20] [--threads N] [--json FILE]
"""

import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from common import cores, machine, options, report

from eyas.config import load_module_config
from eyas.data import load_dataset
from eyas.data.synthetic import write_dataset
from eyas.models import build
from eyas.train.detection import DetectionTask
from eyas.train.ranks import open_ranks
from eyas.train.trainer import Trainer

RECIPE = "PP-YOLOE_plus_SOD-XS-P2"
NETWORKS = (RECIPE, "PP-YOLOE_plus_SOD-XS", "PP-YOLOE_plus_SOD-S")
IMAGES = 96
WARM_UP = 4
BAR = 0.10


class Enough(Exception):
    """Ends a training run after the steps that were asked for."""


@dataclass
class Clock:
    """Notes when each forward pass starts and ends and when each update starts and ends, by hooks."""

    steps: int
    starts: list[float] = field(default_factory=list)
    forwards: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def watch(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Follow a run; it ends with `Enough`, at the start of the step after the last one."""
        net.register_forward_pre_hook(lambda *_: self._start())
        net.register_forward_hook(lambda *_: self.forwards.append(time.perf_counter()))
        optimizer.register_step_pre_hook(lambda *_: self.updates.append(time.perf_counter()))
        optimizer.register_step_post_hook(lambda *_: self.ends.append(time.perf_counter()))

    def _start(self) -> None:
        self.starts.append(time.perf_counter())
        if len(self.starts) > self.steps:
            raise Enough

    def parts(self) -> dict[str, list[float]]:
        """Seconds of the parts of each step after the warm-up."""
        marks = list(zip(self.starts, self.forwards, self.updates, self.ends, self.starts[1:], strict=False))[WARM_UP:]
        return {
            "step": [after - start for start, _, _, _, after in marks],
            "forward": [forward - start for start, forward, _, _, _ in marks],
            "loss and backward": [update - forward for _, forward, update, _, _ in marks],
            "optimiser": [end - update for _, _, update, end, _ in marks],
            "outside": [after - end for _, _, _, end, after in marks],
        }


def measure(name: str, amp: str, data: Path, steps: int) -> dict[str, object]:
    """The row of one network."""
    with tempfile.TemporaryDirectory() as output, open_ranks("cpu") as ranks:
        overrides = [f"Global.model={name}", f"Global.dataset_dir={data}", f"Global.output={output}"]
        overrides += [
            "Global.device=cpu",
            "Train.epochs_iters=100000",
            "Train.eval_interval=100000",
            "Train.save_interval=100000",
        ]
        config = load_module_config(RECIPE, [*overrides, f"Train.amp={amp}", "Train.workers=1"])
        torch.manual_seed(0)
        scenes = load_dataset(data, "train")
        model = build(name, len(scenes.classes))
        task = DetectionTask(config.train, scenes, scenes)
        trainer = Trainer(config, task, model, task.manifest(name, model, {}), ranks)
        clock = Clock(steps + WARM_UP)
        clock.watch(trainer.parts.net, trainer.parts.optimizer)
        with suppress(Enough):
            trainer.train()
    parts = clock.parts()
    middle = {key: statistics.median(values) for key, values in parts.items()}
    total = sum(parts["step"])
    return {
        "network": name.removeprefix("PP-YOLOE_plus_"), "precision": "float32" if amp == "OFF" else "bfloat16",
        "step s": middle["step"], "images/s": config.train.batch_size * len(parts["step"]) / total,
        "forward s": middle["forward"], "loss and backward s": middle["loss and backward"],
        "optimiser s": middle["optimiser"], "outside s": middle["outside"],
        "outside": f"{sum(parts['outside']) / total:.1%}", "bar": f"{BAR:.0%}",
    }  # fmt: skip


def main() -> None:
    """Measure every network and print the table."""
    parser = options(__doc__ or "", rounds=20)
    parser.add_argument("--threads", type=int, default=cores(), help="threads of torch (all cores)")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as folder:
        data = write_dataset(folder, train=IMAGES, val=1)
        rows = [measure(name, amp, data, asked.rounds) for name in NETWORKS for amp in ("OFF", "O1")]
    line = f"{machine('torch', 'numpy', 'opencv-python-headless')}; {asked.threads} threads"
    report("One training step, 16 crops of 320x320", rows, line, asked.json)


if __name__ == "__main__":
    main()
