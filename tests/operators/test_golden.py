"""Every preset measures what it did when its numbers were recorded."""

from __future__ import annotations

import json

import pytest

from tests.operators.golden import FILE, identify
from tests.operators.tasks import NAMES

GOLDEN = json.loads(FILE.read_text())


def test_every_preset_has_its_numbers() -> None:
    assert sorted(GOLDEN) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_measurement_is_the_recorded_one(name: str) -> None:
    assert identify(name) == pytest.approx(GOLDEN[name], abs=2e-5, rel=2e-4)
