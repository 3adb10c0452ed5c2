"""The notebooks were run from top to bottom, without errors, and what they import exists."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def code_cells(request: pytest.FixtureRequest) -> list[Any]:
    return [cell for cell in nbformat.read(request.param, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_a_quickstart() -> None:
    assert "01_quickstart" in [path.stem for path in NOTEBOOKS]


def test_was_run_in_order_without_errors(code_cells: list[Any]) -> None:
    assert [cell.execution_count for cell in code_cells] == list(range(1, len(code_cells) + 1))
    kinds = [output.output_type for cell in code_cells for output in cell.outputs]
    assert "error" not in kinds
    pictures = [output for cell in code_cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 5


def test_imports_what_exists(code_cells: list[Any]) -> None:
    tree = ast.parse("\n".join(cell.source for cell in code_cells))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    own = [node for node in imported if node.module != "IPython.display"]  # which runs them, and needs no dev package
    names = [(node.module, alias.name) for node in own for alias in node.names]
    assert len(names) > 3
    assert [pair for pair in names if not hasattr(importlib.import_module(str(pair[0])), pair[1])] == []
