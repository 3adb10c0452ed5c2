"""Iterations on small dense problems with known solutions."""

from __future__ import annotations

import pytest
import torch

from treg_exp.numerics.cg import conjugate_gradients, damped_least_squares, largest_eigenvalue
from treg_exp.operators.methods import CG


def dense(samples: int = 3, rows: int = 5, columns: int = 8) -> torch.Tensor:
    return torch.randn(samples, rows, columns, generator=torch.Generator().manual_seed(0))


def test_conjugate_gradients_solve_each_sample() -> None:
    A = dense(rows=8)
    M = A.mT @ A + 0.1 * torch.eye(8)
    b = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    x = conjugate_gradients(lambda v: torch.einsum("bij,bj->bi", M, v), b, torch.zeros(3, 8), 50, 1e-6)
    torch.testing.assert_close(x, torch.linalg.solve(M, b), rtol=1e-3, atol=1e-3)


def test_a_finished_sample_is_frozen() -> None:
    scale = torch.tensor([[1.0] * 4, [1.0, 2.0, 3.0, 4.0]])  # the first sample needs one iteration
    b = torch.ones(2, 4)
    short, long = (conjugate_gradients(lambda v: scale * v, b, torch.zeros(2, 4), n, 1e-6) for n in (1, 4))
    assert torch.equal(short[0], long[0])
    torch.testing.assert_close(long, b / scale)


def test_an_exact_start_stays() -> None:
    x = torch.randn(2, 4)
    assert torch.equal(conjugate_gradients(lambda v: v, x, x, 5, 0.0), x)


def test_a_singular_matrix_does_not_diverge() -> None:
    scale = torch.tensor([1.0, 0.5, 0.0, 0.0])
    b = torch.tensor([[1.0, 1.0, 1e-7, 0.0]])  # rounding error outside the range
    x = conjugate_gradients(lambda v: scale * v, b, torch.zeros(1, 4), 100, 0.0)
    assert float(x.abs().max()) < 2.1


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_damped_least_squares(lam: float) -> None:
    A, y = dense(), torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    d = damped_least_squares(
        lambda v: torch.einsum("bij,bj->bi", A, v),
        lambda v: torch.einsum("bij,bi->bj", A, v),
        y,
        lam,
        100,
        1e-6,
    )
    gram = A @ A.mT + lam * torch.eye(5)
    torch.testing.assert_close(d, (A.mT @ torch.linalg.solve(gram, y)[..., None])[..., 0], rtol=1e-3, atol=1e-4)


def test_largest_eigenvalue() -> None:
    scale = torch.tensor([[0.5, 2.0, 1.0]])
    assert largest_eigenvalue(lambda v: scale * v, torch.ones(1, 3)) == pytest.approx(2.0, rel=1e-4)
    assert largest_eigenvalue(lambda v: 0 * v, torch.ones(1, 3)) == 0.0


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="iterations=0: must be an integer >= 1"):
        CG(iterations=0)
    with pytest.raises(ValueError, match="tolerance=-1: must be >= 0"):
        CG(tolerance=-1)
