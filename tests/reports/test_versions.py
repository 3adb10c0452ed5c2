"""Rows say which versions of the metrics made them, and mixtures are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from treg_exp.files import write_json
from treg_exp.metrics.chosen import Measures
from treg_exp.metrics.column import Columns
from treg_exp.metrics.fidelity import PSNR, SSIM
from treg_exp.metrics.perceptual import LPIPS
from treg_exp.metrics.provenance import hash_of_versions
from treg_exp.reports.versions import add_versions, scored_otherwise
from treg_exp.shipped import file_hash


class NewerPSNR(PSNR):
    version = "2"


OLD, NEW = Measures({"psnr": PSNR(), "ssim": SSIM()}), Measures({"psnr": NewerPSNR(), "ssim": SSIM()})
COLUMNS = Columns({}, scored_by={each.scored_by: each.versions for each in (OLD, NEW)})


def rows(*hashes: str | None) -> list[dict[str, Any]]:
    return [{"sample_id": f"s{i}", "variant": "own", "draw": 0, "scored_by": name} for i, name in enumerate(hashes)]


def test_what_is_behind_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OLD.versions["psnr"] == {
        "class": "treg_exp.metrics.fidelity.PSNR",
        "version": "1",
        "packages": {},
        "weights": {},
    }
    lpips = LPIPS()
    made = Measures({"lpips": lpips}).versions["lpips"]["weights"]
    assert made == {"alexnet.safetensors": file_hash(next(iter(lpips.weight_files())))[:16]}
    assert OLD.scored_by == Measures({"psnr": PSNR(), "ssim": SSIM()}).scored_by != NEW.scored_by
    assert len(OLD.scored_by) == 8
    monkeypatch.setattr("treg_exp.metrics.provenance.version", lambda package: "99")
    updated = Measures({"psnr": PSNR(), "ssim": SSIM()})
    assert updated.versions["ssim"]["packages"] == {"torchmetrics": "99"}
    assert hash_of_versions(updated.versions) != OLD.scored_by


def test_a_mixture_is_counted_and_noted() -> None:
    summary: dict[str, Any] = {}
    add_versions(summary, rows(OLD.scored_by, OLD.scored_by), COLUMNS)
    assert summary == {"scored_by": {OLD.scored_by: 2}}
    add_versions(summary, rows(OLD.scored_by, NEW.scored_by, OLD.scored_by), COLUMNS)
    assert summary["scored_by"] == {OLD.scored_by: 2, NEW.scored_by: 1}
    assert summary["notes"] == ["Rows were scored by 2 versions of metrics (psnr): do not mix them."]


def test_rows_that_do_not_say_it_are_no_other_version() -> None:
    summary: dict[str, Any] = {}
    add_versions(summary, rows(None, OLD.scored_by, None), COLUMNS)
    assert summary["scored_by"] == {"unknown": 2, OLD.scored_by: 1}
    assert summary["notes"] == ["2 rows do not say which versions of the metrics have scored them, the others do."]
    summary = {}
    add_versions(summary, rows(None, None), COLUMNS)
    assert summary == {"scored_by": {"unknown": 2}}


def test_a_continued_run_tells_which_metrics_have_changed() -> None:
    assert scored_otherwise(rows(NEW.scored_by), NEW.scored_by, COLUMNS, NEW.versions) == []
    (told,) = scored_otherwise(rows(OLD.scored_by, NEW.scored_by), NEW.scored_by, COLUMNS, NEW.versions)
    assert told == "1 restorations were scored by other versions of psnr; do not compare their numbers with new ones"
    (told,) = scored_otherwise(rows(None), NEW.scored_by, COLUMNS, NEW.versions)
    assert "metrics whose versions are not known" in told


def test_columns_keep_it(tmp_path: Path) -> None:
    COLUMNS.write(tmp_path / "columns.json")
    assert Columns.read(tmp_path / "columns.json").scored_by == COLUMNS.scored_by
    write_json(tmp_path / "old.json", {"medium": "image", "sample_rate": None, "columns": {"psnr": {"label": "PSNR"}}})
    old = Columns.read(tmp_path / "old.json")
    assert old.scored_by == {}
    assert list(old.of_rows) == ["psnr"]
    assert replace(old, known={**old.known, "fid": replace(old["psnr"], of="set")}).of_rows == {"psnr": old["psnr"]}
