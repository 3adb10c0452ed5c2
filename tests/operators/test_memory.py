"""What one call allocates at most, in sizes of the image; the counter is that of ``treg-exp bench operators``."""

from __future__ import annotations

import pytest
import torch

from treg_exp.bench import _memory
from treg_exp.operators import FourierLines, MotionBlur, Operator, PhaseRetrieval, SparseViewCT

SHAPE = (3, 128, 128)
MIB = 3 * 128 * 128 * 4 / 2**20


@pytest.mark.parametrize(
    ("operator", "A", "adjoint"),
    [
        (FourierLines(4.0, 0.08, SHAPE, ["a"]), 4.0, 3.34),
        (MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect"), 2.55, 2.55),
        (PhaseRetrieval(2.0, SHAPE), 5.6, None),
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


def test_peak_of_a_step_that_is_iterated() -> None:
    """Conjugate gradients hold nine images; with one channel at a time these are three."""
    operator = MotionBlur(15, 0.5, SHAPE, ["a"], boundary="reflect")
    operator.exact_iterations = 5
    x = torch.rand(1, *SHAPE)
    y = operator.A(x)
    assert 3.0 <= _memory(lambda: operator.prox(y, x, 0.01)) / MIB <= 5.5


def test_projections_do_not_copy_their_indices() -> None:
    """The product needs them as int32, and makes a copy of wider ones: 13 images at 512 px."""
    operator = SparseViewCT(4, (3, 16, 16))
    for matrix in (operator._matrix, operator._transpose):
        assert {matrix.crow_indices().dtype, matrix.col_indices().dtype} == {torch.int32}
