"""``treg-exp bench operators`` runs; what it measures depends on the machine."""

from __future__ import annotations

import pytest

from treg_exp.cli import main


def run(*arguments: str) -> int:
    return main(["bench", "operators", *arguments])


def test_rows_of_a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--shapes", "2x16", "--only", "mask", "grey", "--repeats", "1") == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[-6] for row in rows if "2x3x16x16" in row and "another" not in row] == [
        "A",
        "adjoint",
        "prox",
    ] * 2


def test_a_wrong_shape_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("--shapes", "512")
    assert "--shapes 512: must be BATCHxSIDE, as 1x512" in capsys.readouterr().err
