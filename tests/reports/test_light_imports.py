"""Signals, data, metrics and reports are a plain library: importing them loads no framework."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import treg_exp

HEAVY = ("hydra", "lightning", "wandb", "matplotlib", "torchmetrics", "torchvision", "transformers", "soundfile")
PARTS = ("treg_exp.signals", "treg_exp.data", "treg_exp.metrics", "treg_exp.reports", "treg_exp.run_layout")


def test_no_framework_is_imported() -> None:
    names = [module.name for module in pkgutil.walk_packages(treg_exp.__path__, "treg_exp.") if not module.ispkg]
    wanted = [name for name in names if name.startswith(PARTS)]
    assert len(wanted) > 30
    code = f"import sys, {', '.join(wanted)}\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
