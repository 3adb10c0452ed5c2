"""Numbers that identify the measurement of every preset; a change of them changes published results.

Rewrite with ``python -m tests.operators.golden`` and say in the commit why they moved.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.operators.tasks import NAMES, load_task, smallest_shape

FILE = Path(__file__).with_name("golden.json")


def identify(name: str) -> list[float]:
    """Mean, root mean square and a random projection of y for one drawn image and its noise."""
    task = load_task(name)
    shape = smallest_shape(task)
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, shape[1:], mode="bilinear", align_corners=True)
    y = task.measure(x, ["golden"]).y.double().flatten()
    way = torch.randn(len(y), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [round(float(v), 6) for v in (y.mean(), y.square().mean().sqrt(), y @ way / len(y) ** 0.5)]


if __name__ == "__main__":
    lines = [f"{json.dumps(name)}: {json.dumps(identify(name))}" for name in NAMES]
    FILE.write_text("{\n  " + ",\n  ".join(lines) + "\n}\n")
