"""The library stays a library, and `run.py --help` stays quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PARTS = (
    "schedule",
    "numerics",
    "signals",
    "operators",
    "priors",
    "text",
    "tasks",
    "solvers",
    "metrics",
    "data",
    "reports",
)
FILES = [ROOT / "src/treg_exp/api.py", *(f for part in PARTS for f in (ROOT / "src/treg_exp" / part).rglob("*.py"))]
LIBRARY = [".".join(file.relative_to(ROOT / "src").with_suffix("").parts) for file in FILES if file.stem != "__init__"]


def loaded(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_library_needs_no_framework() -> None:
    modules = loaded("import " + ", ".join(LIBRARY))
    for heavy in ("hydra", "lightning", "wandb", "diffusers", "transformers", "open_clip", "matplotlib", "deepinv"):
        assert heavy not in modules


@pytest.mark.parametrize("statement", ["import treg_exp", "import treg_exp.errors", "import treg_exp.cli"])
def test_light_imports(statement: str) -> None:
    assert not loaded(statement) & {"torch", "lightning", "diffusers", "numpy"}
