"""Numbers that identify the measurement of every preset; a change of them changes published results.

``python -m tests.operators.golden`` records presets that have none yet and forgets those that are gone. Numbers that
are meant to move are recorded again by the names of their presets: ``python -m tests.operators.golden sr_x8 jpeg``;
say in the commit why they moved.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.operators.signals import smooth
from tests.operators.tasks import NAMES, load_task, smallest_shape

FILE = Path(__file__).with_name("golden.json")


def identify(name: str) -> list[float]:
    """Mean, root mean square and a random projection of y for one drawn signal and its noise."""
    task, shape = load_task(name), smallest_shape(name)
    signal = smooth(task.build(shape, ["golden"]).signal_shape)
    y = task.measure(signal, ["golden"], shape).y.double().flatten()
    if not len(y):
        return [0.0, 0.0, 0.0]
    way = torch.randn(len(y), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return [round(float(v), 6) for v in (y.mean(), y.square().mean().sqrt(), y @ way / len(y) ** 0.5)]


def record(names: Sequence[str]) -> None:
    """Write the numbers of these presets, and of those that have none."""
    before = json.loads(FILE.read_text())
    after = {name: identify(name) if name in names or name not in before else before[name] for name in NAMES}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            print(f"{name}: {before.get(name, 'new')} -> {after.get(name, 'gone')}")
    lines = [f"{json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in after.items()]
    FILE.write_text("{\n  " + ",\n  ".join(lines) + "\n}\n")


if __name__ == "__main__":
    record(sys.argv[1:])
