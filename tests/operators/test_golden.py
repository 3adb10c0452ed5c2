"""Every preset measures what it did when its numbers were recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.operators import golden
from tests.operators.golden import FILE, identify
from tests.operators.tasks import NAMES

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_measurement_is_the_recorded_one(name: str) -> None:
    if name not in GOLDEN:
        pytest.skip(f"{name} has no recorded numbers yet: python -m tests.operators.golden")
    assert identify(name) == pytest.approx(GOLDEN[name], abs=2e-5, rel=2e-4)


def test_recording_writes_what_is_new_and_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "golden.json"
    file.write_text('{"denoising": [1, 2, 3], "gone": [0, 0, 0]}')
    monkeypatch.setattr(golden, "FILE", file)
    monkeypatch.setattr(golden, "NAMES", ["denoising", "generation"])
    golden.record([])
    assert json.loads(file.read_text()) == {"denoising": [1, 2, 3], "generation": [0, 0, 0]}
    golden.record(["denoising"])
    assert json.loads(file.read_text())["denoising"] == pytest.approx(GOLDEN["denoising"])
