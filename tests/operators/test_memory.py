"""What one call allocates at most, in sizes of the image; the counter is that of ``treg-exp bench operators``."""

from __future__ import annotations

import pytest
import torch

from treg_exp.bench import _memory
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.motion import MotionBlur
from treg_exp.operators.linear.mri import FourierLines
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.operators.nonlinear.intensity import GammaCorrection, HighDynamicRange
from treg_exp.operators.nonlinear.phase import PhaseRetrieval

SHAPE = (3, 128, 128)
LARGE = (3, 512, 512)  # a sum in parts begins to save memory above 256 px
MIB = 3 * 128 * 128 * 4 / 2**20


@pytest.mark.parametrize(
    ("operator", "A", "adjoint"),
    [
        (FourierLines(4.0, 0.08, SHAPE, ["a"]), 3.7, 3.05),
        (MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect"), 2.45, 2.55),
        (PhaseRetrieval(2.0, SHAPE), 6.0, None),
        (SparseViewCT(20, SHAPE), 1.5, 2.1),
    ],
    ids=["mri", "motion, reflect", "phase", "ct"],
)
def test_peak(operator: Operator, A: float, adjoint: float | None) -> None:
    x = torch.rand(1, *SHAPE)
    y = operator.A(x)
    assert 1.0 <= _memory(lambda: operator.A(x)) / MIB <= A
    if adjoint is not None:
        assert 1.0 <= _memory(lambda: operator.adjoint(y)) / MIB <= adjoint


@pytest.mark.parametrize(
    "operator",
    [
        FourierLines(4.0, 0.08, LARGE, ["a"]),
        MotionBlur(61, 0.5, LARGE, ["a"]),
        MotionBlur(61, 0.5, LARGE, ["a"], boundary="reflect"),
    ],
    ids=["mri", "motion, circular", "motion, reflect"],
)
def test_peak_of_a_proximal_step(operator: Operator) -> None:
    """One channel at a time: the six or more images of conjugate gradients are those of a channel, a third each."""
    operator.exact_iterations = 5  # more of them take no more memory
    x = torch.rand(1, *LARGE)
    y = operator.A(x)
    assert 2.0 <= _memory(lambda: operator.prox(y, x, 0.01)) / (16 * MIB) <= 4.0


@pytest.mark.parametrize(
    ("operator", "bound"),
    [
        (GammaCorrection(2.2, LARGE), 3.1),
        (HighDynamicRange(2.0, LARGE), 2.1),
        (PhaseRetrieval(2.0, LARGE), 5.2),
    ],
    ids=["gamma", "hdr", "phase"],
)
def test_peak_of_a_closed_gradient(operator: Operator, bound: float) -> None:
    x = torch.rand(1, *LARGE)
    y, start = operator.A(x), 0.9 * x
    assert 1.0 <= _memory(lambda: operator.gradient(y, start)) / (16 * MIB) <= bound


def test_projections_do_not_copy_their_indices() -> None:
    """The product needs them as int32, and makes a copy of wider ones: 13 images at 512 px."""
    operator = SparseViewCT(4, (3, 16, 16))
    for matrix in (operator._matrix, operator._transpose):
        assert {matrix.crow_indices().dtype, matrix.col_indices().dtype} == {torch.int32}
