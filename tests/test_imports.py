"""The library stays a library, and `run.py --help` stays quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.test_structure import modules

#: Parts of the package that anybody may import without a framework.
LIBRARY = (
    "errors", "noise", "files", "numerics", "schedule", "signals", "operators", "priors", "data", "text", "tasks",
    "solvers", "metrics", "reports", "api",
)  # fmt: skip
HEAVY = ("hydra", "lightning", "wandb", "diffusers", "transformers", "open_clip", "matplotlib", "deepinv")


def loaded(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_library_needs_no_framework() -> None:
    """Every module of it, also those that nothing else imports."""
    names = [f"treg_exp.{name}" for name in modules() if name.split(".")[0] in LIBRARY]
    assert len(names) > 80
    assert not loaded("import " + ", ".join(names)) & set(HEAVY)


@pytest.mark.parametrize("statement", ["import treg_exp", "import treg_exp.errors", "import treg_exp.cli"])
def test_light_imports(statement: str) -> None:
    assert not loaded(statement) & {"torch", "lightning", "diffusers", "numpy"}
