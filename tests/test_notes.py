"""What a run says at its start without stopping."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_config import TINY, composed
from treg_exp.app import run

LONG = "a red apple " + "shiny " * 60


@pytest.mark.parametrize("dry", [True, False])
def test_texts_that_are_cut_are_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], dry: bool) -> None:
    """Prompt, null text and texts of other roles; two samples and two variants have the same ones."""
    overrides = ["experiment=single", "prompt=fixed", f"prompt.text='{LONG}'", "null_text=fixed"]
    overrides += [f"null_text.text='no {LONG}'", "+variants.weak.guidance.scale=1"]
    cfg = composed(*TINY[:2], *overrides, "data.limit=2", "solver.steps=1", "logger=csv", f"dry_run={dry}")
    cfg.run_dir = str(tmp_path / "r")
    run(cfg)
    out = capsys.readouterr().out
    assert out.count("note: 2 texts are longer than the ") == 1
    assert out.count(", 'shiny', of 'no a red apple shiny ") == out.count(", 'shiny', of 'a red apple shiny ") == 1
    assert list((tmp_path / "r").glob("*")) == [] or not dry
