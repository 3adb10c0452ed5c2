"""The code keeps its structure: short files, no import circles, imports that go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "treg_exp"
MOST_LINES = 300
#: Parts of the package from the ground up; a part may import from the parts below it and from itself.
LAYERS = (
    (
        "argument_help",
        "errors",
        "field_checks",
        "noise",
        "files",
        "quoting",
        "run_layout",
        "shipped",
        "silence",
        "stamps",
    ),
    ("numerics", "schedule", "signals"),
    ("operators", "priors"),
    ("data", "text"),
    ("tasks",),
    ("solvers",),
    ("metrics",),
    ("reports",),
    ("configuration",),
    ("api", "engine", "training", "recipes"),
    ("loggers", "sources", "variant_names"),
    ("variants",),
    ("experiment",),
    ("restoring",),
    ("app", "worker"),
    ("program",),
    ("sweeps",),
    ("ambiguity", "findings"),
    ("cli", "doctor", "bench"),
)


def modules() -> dict[str, Path]:
    """Dotted name below the package -> file."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the package that a file imports: at its top, in a function, or for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    inside = {name.removeprefix("treg_exp.") for name in names if name.startswith("treg_exp.")}
    return inside & set(known)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(file, known) - {name} for name, file in known.items() if name}


def test_files_are_short() -> None:
    lengths = {name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in modules().items()}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_import_goes_in_a_circle(graph: dict[str, set[str]]) -> None:
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in finished:
            for other in sorted(graph.get(name, ())):
                visit(other, (*trail, name))
            finished.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_imports_go_one_way(graph: dict[str, set[str]]) -> None:
    height = {part: level for level, parts in enumerate(LAYERS) for part in parts}
    unknown = {name.split(".")[0] for name in graph} - set(height)
    assert not unknown, f"say in LAYERS where {sorted(unknown)} belong"
    wrong = [
        f"{name} imports {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if height[other.split(".")[0]] > height[name.split(".")[0]]
    ]
    assert wrong == []


def test_packages_list_nothing() -> None:
    """A new module must not have to be named in an ``__init__``."""
    for file in PACKAGE.rglob("__init__.py"):
        body = ast.parse(file.read_text(encoding="utf-8")).body
        assert all(isinstance(node, ast.Expr) for node in body), f"{file.relative_to(ROOT)} holds more than a docstring"
