"""The library stays a library, and `run.py --help` stays quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIBRARY = ("types", "noise", "schedule", "operators", "priors", "text", "solvers", "metrics", "data", "reports", "api")


def loaded(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_library_needs_no_framework() -> None:
    modules = loaded("import " + ", ".join(f"treg_exp.{name}" for name in LIBRARY))
    for heavy in ("hydra", "lightning", "wandb", "diffusers", "transformers", "open_clip", "matplotlib", "deepinv"):
        assert heavy not in modules


@pytest.mark.parametrize("statement", ["import treg_exp", "import treg_exp.errors", "import treg_exp.cli"])
def test_light_imports(statement: str) -> None:
    assert not loaded(statement) & {"torch", "lightning", "diffusers", "numpy"}
