"""Coordinates in which an operator multiplies by its singular values, for every operator that claims to have them."""

from __future__ import annotations

import pytest
import torch

from tests.solvers.gaussian import SHAPE
from treg_exp.errors import FieldError
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.base import LinearOperator
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.colour import Greyscale
from treg_exp.operators.linear.masking import RandomInpainting
from treg_exp.operators.linear.motion import MotionBlur
from treg_exp.operators.linear.mri import FourierLines
from treg_exp.operators.linear.nothing import Nothing
from treg_exp.operators.linear.radon import SparseViewCT
from treg_exp.operators.singular_parts import check_singular_parts, has_singular_parts, singular_parts

IDS = ["apple", "bear"]
KNOWN = {
    "average": lambda: AveragePooling(2, SHAPE),
    "greyscale": lambda: Greyscale("luma", SHAPE),
    "bicubic": lambda: BicubicDownsampling(factor=2, signal_shape=SHAPE),
    "gaussian": lambda: GaussianBlur(sigma=1.0, kernel_size=5, signal_shape=SHAPE),
    "motion": lambda: MotionBlur(kernel_size=5, intensity=0.5, signal_shape=SHAPE, sample_ids=IDS),
    "mask": lambda: RandomInpainting(0.4, SHAPE, IDS),
    "fourier lines": lambda: FourierLines(2.0, 0.2, SHAPE, IDS),
    "nothing": lambda: Nothing(SHAPE),
}


@pytest.fixture(params=KNOWN)
def operator(request: pytest.FixtureRequest) -> LinearOperator:
    return KNOWN[request.param]()


def test_parts_are_orthogonal_and_multiply(operator: LinearOperator) -> None:
    """V V^T x = x, A^T A x = V s^2 V^T x and S^+ U^T y = V^T pinv(y)."""
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    parts = singular_parts(operator)
    torch.testing.assert_close(parts.turn_back(parts.turn(x)), x, rtol=0, atol=1e-5)
    y = operator.A(x)
    squared = parts.turn_back(parts.values.square() * parts.turn(x))
    torch.testing.assert_close(squared, operator.adjoint(y), rtol=0, atol=1e-5)
    torch.testing.assert_close(parts.turn_back(parts.seen(y)), operator.pinv(y), rtol=0, atol=1e-3)


def test_what_is_unknown_is_refused_with_what_to_do() -> None:
    unknown = SparseViewCT(4, SHAPE)
    assert not has_singular_parts(unknown)
    with pytest.raises(FieldError, match=r"operator=SparseViewCT: DDRM treats .* not known .* take solver=dps"):
        check_singular_parts(unknown, "DDRM", "take solver=dps")
    padded = MotionBlur(kernel_size=5, intensity=0.5, signal_shape=SHAPE, sample_ids=IDS, boundary="reflect")
    with pytest.raises(FieldError, match="of this operator with boundary reflect is not known"):
        check_singular_parts(padded, "DDRM", "take solver=dps")
