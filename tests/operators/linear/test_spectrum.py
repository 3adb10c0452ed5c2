from __future__ import annotations

import pytest
import torch

from treg_exp.errors import FieldError
from treg_exp.operators.base import Operator
from treg_exp.operators.linear.average import AveragePooling
from treg_exp.operators.linear.bicubic import BicubicDownsampling
from treg_exp.operators.linear.blur import GaussianBlur
from treg_exp.operators.linear.masking import RandomInpainting
from treg_exp.operators.spectrum import has_spectrum, spectrum_of

SHAPE = (3, 32, 32)


@pytest.mark.parametrize(
    "operator",
    [
        BicubicDownsampling(factor=4, signal_shape=SHAPE),
        GaussianBlur(sigma=1.0, kernel_size=9, signal_shape=SHAPE),
        RandomInpainting(0.5, SHAPE, ["a", "b"]),
    ],
)
def test_the_operator_is_diagonal_in_its_coordinates(operator: Operator) -> None:
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0))
    spectrum = spectrum_of(operator)
    v = spectrum.turn(x)
    torch.testing.assert_close(spectrum.turn_back(v), x, rtol=0, atol=1e-5)
    torch.testing.assert_close(v.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))
    torch.testing.assert_close(
        (spectrum.values * v).flatten(1).norm(dim=1), operator.A(x).flatten(1).norm(dim=1), rtol=1e-3, atol=1e-4
    )
    kept = (spectrum.values > 0.05).expand_as(v)
    torch.testing.assert_close(spectrum.seen(operator.A(x))[kept], v[kept], rtol=0, atol=1e-3)


def test_others_are_refused() -> None:
    operator = AveragePooling(factor=4, signal_shape=SHAPE)
    assert not has_spectrum(operator)
    with pytest.raises(FieldError, match="AveragePooling: has no singular value decomposition"):
        spectrum_of(operator)
