"""An edit without a measurement, as a user runs it: there and back, and with another text."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.e2e.test_run import run
from treg_exp.run_layout import read_rows


def test_inversion_comes_back_and_another_text_changes_the_picture(tmp_path: Path) -> None:
    run("experiment=edit", "data.limit=2", "logger=csv", f"run_dir={tmp_path}/r")
    rows = {(row["sample_id"], row["variant"]): row for row in read_rows(tmp_path / "r")}
    assert len(rows) == 4
    for (sample_id, variant), row in rows.items():
        assert row["residual"] is None, "nothing is measured"
        assert (row["nfe"], row["encodes"], row["decodes"]) == (100, 1, 1)
        stored = load_file(tmp_path / "r" / "samples" / sample_id / variant / "latents.safetensors")
        assert stored["inverted"].std() == pytest.approx(1.0, abs=0.3), "inversion ends near standard normal numbers"
        assert row["psnr"] > 25 if variant == "round_trip" else row["psnr"] < 22
    for sample_id in {sample_id for sample_id, _ in rows}:
        edit, back = rows[sample_id, "edit"], rows[sample_id, "round_trip"]
        assert edit["align_counterfactual"] > back["align_counterfactual"]
