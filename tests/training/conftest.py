"""The toy objective is a package of the user's own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREG_EXP_PACKAGES", "tests")
