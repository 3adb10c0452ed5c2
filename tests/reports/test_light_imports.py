"""Data, metrics and reports are a plain library: importing them loads no framework."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("hydra", "lightning", "wandb", "matplotlib", "torchmetrics", "torchvision", "transformers")


def test_no_framework_is_imported() -> None:
    code = (
        "import sys, treg_exp.data, treg_exp.metrics, treg_exp.reports\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
