"""SI-SDR and SNR against figures worked out by hand; sources in any order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from treg_exp.metrics.audio import SISDR, SNR, SISDRImprovement
from treg_exp.metrics.base import Metric, MetricInput, check_metrics, evaluate
from treg_exp.tasks.problems import EditProblem, InverseProblem

METRICS: dict[str, Metric] = {"si_sdr": SISDR(), "improvement": SISDRImprovement(), "snr": SNR()}


def waves(*shape: int) -> Tensor:
    """Orthogonal waveforms of one power along the first axis, (N, ..., T)."""
    x = torch.randn(shape[0], *shape[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    q, _ = torch.linalg.qr(x.flatten(1).T)
    return q.T.reshape(x.shape)


def judged(
    signal: Tensor, target: Tensor | None, y: Tensor | None = None, **more: Any
) -> list[dict[str, float | None]]:
    y = torch.zeros(len(signal), 0) if y is None else y
    problem = InverseProblem(y, SimpleNamespace(), sigma=0.0, lam=0.0)  # type: ignore[arg-type]
    given: dict[str, Any] = {"problem": problem, **more}
    return evaluate(METRICS, MetricInput(signal, target, prior=None, texts=[{}] * len(signal), medium="audio", **given))


def test_by_hand() -> None:
    target, noise = waves(2, 1, 64)
    (row,) = judged((2 * target + 0.2 * noise)[None], target[None])
    assert row["si_sdr"] == pytest.approx(20)  # the scale does not count
    assert row["snr"] == pytest.approx(-10 * torch.tensor(1.04).log10().item())  # the error is target + 0.2 noise
    (exact,) = judged(target[None], target[None])
    assert (exact["si_sdr"], exact["snr"]) == (100, 100)
    assert exact["si_sdr_improvement"] is None  # y is no waveform


def test_what_cannot_be_compared_is_none() -> None:
    x = waves(2, 1, 64)
    silent = torch.stack([x[0], torch.zeros_like(x[1])])
    first, second = judged(x, silent)
    assert first["si_sdr"] == 100
    assert (second["si_sdr"], second["snr"]) == (None, None)
    assert set(judged(x, None)[0].values()) == {None}
    assert judged(x, x, problem=EditProblem(x))[0] == {"si_sdr": 100, "si_sdr_improvement": None, "snr": 100}


def test_sources_count_in_their_best_order() -> None:
    a, b, noise = waves(3, 1, 64)
    target = torch.stack([a, b])[None]
    restored = torch.stack([b + 0.1 * noise, a + 0.01 * noise])[None]
    (row,) = judged(restored, target, y=(a + b)[None])
    assert row["si_sdr"] == pytest.approx((20 + 40) / 2)
    assert row["si_sdr_improvement"] == pytest.approx(30 - 0, abs=1e-6)  # the mixture has 0 dB against each source
    assert row["snr"] == pytest.approx(30)


def test_a_measured_waveform_is_compared_too() -> None:
    target, noise = waves(2, 1, 64)
    (row,) = judged((target + 0.1 * noise)[None], target[None], y=(target + noise)[None])
    assert row["si_sdr_improvement"] == pytest.approx(20)


def test_values_do_not_depend_on_the_batch() -> None:
    x, target = waves(8, 1, 64).reshape(4, 2, 1, 64), waves(8, 1, 64).flip(2).reshape(4, 2, 1, 64)
    together = judged(x, target)
    assert [judged(x[i : i + 1], target[i : i + 1])[0] for i in range(4)] == [
        {name: value if value is None else pytest.approx(value) for name, value in row.items()} for row in together
    ]


def test_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^snr=SNR: judges audio, and the prior makes image"):
        check_metrics({"snr": SNR()}, "image")
