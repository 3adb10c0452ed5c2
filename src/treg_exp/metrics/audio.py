"""Closeness of waveforms to the target: SI-SDR and SNR. Sources of a separation are compared in their best order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from treg_exp.metrics.base import Metric, MetricInput, Values
from treg_exp.metrics.column import Column
from treg_exp.tasks.problems import InverseProblem

LARGEST = 100.0  # dB: keeps the mean finite when a signal is met exactly


class WaveformRatio(Metric):
    """A ratio of signal and error in dB, within +-100; None without a target and for silent targets."""

    media = ("audio",)
    stacked = True
    packages = ("torchmetrics",)

    @abstractmethod
    def ratio(self, x: Tensor, target: Tensor) -> Tensor:
        """(..., T) -> (...) in dB, see `audible`."""

    def __call__(self, inp: MetricInput) -> Values:
        """See ``Metric``."""
        (name,) = self.columns
        if inp.target is None:
            return {name: [None] * len(inp.signal)}
        return {name: numbers(self.best(inp, inp.signal.double(), inp.target.double()))}

    def best(self, inp: MetricInput, x: Tensor, target: Tensor) -> Tensor:
        """(B, ...) waveforms -> (B,): the mean over channels, and over sources in the order that gives the most."""
        if not inp.stacked:
            return self.ratio(x, target).mean(dim=1)
        from torchmetrics.functional.audio import permutation_invariant_training  # takes seconds

        every: Tensor = permutation_invariant_training(
            x, target, lambda a, b: self.ratio(a, b).flatten(1).mean(dim=1), mode="speaker-wise", eval_func="max"
        )[0]
        return every


class SISDR(WaveformRatio):
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, "SDR - half-baked or well done?")."""

    columns: Mapping[str, Column] = {
        "si_sdr": Column("SI-SDR", "dB", 2, higher_is_better=True, below_pictures=True, uses_target=True),
    }

    def ratio(self, x: Tensor, target: Tensor) -> Tensor:
        """See ``WaveformRatio``."""
        from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

        return audible(scale_invariant_signal_distortion_ratio(x, target), target)


class SISDRImprovement(SISDR):
    """How much larger SI-SDR is than that of the measurement itself, for each source; where that is a waveform."""

    columns: Mapping[str, Column] = {
        "si_sdr_improvement": Column("SI-SDR\nimprovement", "dB", 2, higher_is_better=True, uses_target=True),
    }
    problems: ClassVar[tuple[type, ...]] = (InverseProblem,)

    def best(self, inp: MetricInput, x: Tensor, target: Tensor) -> Tensor:
        """See ``WaveformRatio``."""
        assert isinstance(inp.problem, InverseProblem)
        y = inp.problem.y
        shape = target.shape[2:] if inp.stacked else target.shape[1:]
        if y.is_complex() or y.shape[1:] != shape:
            return torch.full((len(x),), torch.nan)
        measured = y.double()[:, None].expand_as(target) if inp.stacked else y.double()
        return super().best(inp, x, target) - super().best(inp, measured, target)


class SNR(WaveformRatio):
    """Signal-to-noise ratio: the error counts as it is, at the scale of the target."""

    columns: Mapping[str, Column] = {"snr": Column("SNR", "dB", 2, higher_is_better=True, uses_target=True)}

    def ratio(self, x: Tensor, target: Tensor) -> Tensor:
        """See ``WaveformRatio``."""
        from torchmetrics.functional.audio import signal_noise_ratio

        return audible(signal_noise_ratio(x, target), target)


def audible(values: Tensor, target: Tensor) -> Tensor:
    """Values (...) in dB within +-``LARGEST``; nan where the target (..., T) is silent."""
    return values.clamp(-LARGEST, LARGEST).where(target.abs().amax(dim=-1) > 0, torch.nan)


def numbers(values: Tensor) -> list[float | None]:
    """(B,) as B floats, None for nan."""
    return [None if value != value else float(value) for value in values.tolist()]
