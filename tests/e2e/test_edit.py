"""An edit without a measurement, as a user runs it: there and back, and with another text."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from tests.e2e.test_run import run
from treg_exp.run_layout import read_rows


def test_inversion_comes_back_and_another_text_changes_the_picture(tmp_path: Path) -> None:
    run("experiment=edit", "data.limit=2", "logger=csv", f"run_dir={tmp_path}/r")
    rows = {(row["sample_id"], row["variant"]): row for row in read_rows(tmp_path / "r")}
    assert len(rows) == 4
    for row in rows.values():
        assert row["residual"] is None, "nothing is measured"
        assert (row["nfe"], row["encodes"], row["decodes"]) == (100, 1, 1)
    for sample_id in {sample_id for sample_id, _ in rows}:
        assert rows[sample_id, "round_trip"]["psnr"] > rows[sample_id, "edit"]["psnr"] + 5  # measured 12.3 and 7.3
        folder = tmp_path / "r" / "samples" / sample_id
        back, edit = (load_file(folder / name / "latents.safetensors")["inverted"] for name in ("round_trip", "edit"))
        assert torch.equal(back, edit), "the way up knows the source text alone"
        assert 0.6 < back.std() < 1.1, "near standard normal numbers"
