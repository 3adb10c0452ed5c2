"""Which try was kept, as columns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
import torch

from treg_exp.metrics.base import MetricInput
from treg_exp.metrics.candidate import Candidate
from treg_exp.solvers.best_of import CHOSEN, CHOSEN_SCORE


def seen(extras: dict[str, torch.Tensor]) -> MetricInput:
    return cast(MetricInput, SimpleNamespace(signal=torch.zeros(2, 3, 8, 8), extras=extras))


def test_it_tells_the_try_and_its_score() -> None:
    extras = {CHOSEN: torch.tensor([2.0, 0.0]), CHOSEN_SCORE: torch.tensor([0.5, -0.25])}
    assert Candidate()(seen(extras)) == {"candidate": [2.0, 0.0], "candidate_score": pytest.approx([0.5, -0.25])}


def test_a_solver_that_tries_once_has_none() -> None:
    assert Candidate()(seen({})) == {"candidate": [None, None], "candidate_score": [None, None]}
