"""A signal in another range than [-1, 1], or with values that are no numbers, is refused by everything that judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.metrics.test_metrics import METRICS, batch
from treg_exp.errors import FieldError
from treg_exp.metrics.base import evaluate
from treg_exp.metrics.fidelity import psnr, ssim
from treg_exp.metrics.judge import JudgeAlignment
from treg_exp.metrics.multiscale import ms_ssim
from treg_exp.metrics.perceptual import LPIPS
from treg_exp.metrics.sets.features import JudgeFeatures
from treg_exp.signals.ranges import TOLERANCE, check_range

FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "psnr": psnr,
    "ssim": ssim,
    "ms_ssim": lambda x, y: ms_ssim(x, y, 2),
    "lpips": lambda x, y: LPIPS().compare(x, y),
    "judge features": lambda x, y: (JudgeFeatures().features(x), JudgeFeatures().features(y)),
}


def good() -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def of_8_bits(x: Tensor) -> Tensor:
    return ((x + 1) * 127.5).round()


def with_nan(x: Tensor) -> Tensor:
    return x.index_put((torch.tensor(1), torch.tensor(0), torch.tensor(3), torch.tensor(3)), torch.tensor(torch.nan))


WRONG = {"8 bits": of_8_bits, "nan": with_nan, "beyond": lambda x: 1.01 * x / x.abs().max(), "inf": lambda x: x / 0.0}


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_functions_refuse_it_on_either_side(name: str, wrong: str) -> None:
    FUNCTIONS[name](good(), good().flip(0))
    for pair in ((WRONG[wrong](good()), good()), (good(), WRONG[wrong](good()))):
        with pytest.raises(FieldError, match=r"metrics take signals in \[-1, 1\]"):
            FUNCTIONS[name](*pair)


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("name", [*METRICS, "judge"])
def test_every_metric_refuses_it(name: str, wrong: str) -> None:
    metrics = {name: JudgeAlignment() if name == "judge" else METRICS[name]}
    inp = batch(2)
    assert inp.target is not None
    assert len(evaluate(metrics, inp)) == 2
    with pytest.raises(FieldError, match=r"^signal="):
        evaluate(metrics, batch(2, signal=WRONG[wrong](inp.signal)))
    with pytest.raises(FieldError, match=r"^target="):
        evaluate(metrics, batch(2, target=WRONG[wrong](inp.target)))


def test_the_message_says_the_range() -> None:
    with pytest.raises(FieldError, match=r"^x=goes from 0 to 255: metrics take signals in \[-1, 1\]$"):
        check_range(torch.tensor([0.0, 255.0]), "x")
    with pytest.raises(FieldError, match=r"^x=holds values that are not finite"):
        check_range(torch.tensor([0.0, torch.nan]), "x")
    edge = torch.tensor([-1 - TOLERANCE / 2, 1 + TOLERANCE / 2])
    assert check_range(edge, "x") is edge, "rounding is no mistake"
