"""Audio files -> waveforms (C, T) of a fixed number of channels and samples. Nothing is resampled or rescaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError
from treg_exp.signals.audio import read_audio

Longer = Literal["start", "centre", "refuse"]
Shorter = Literal["pad", "refuse"]
Channels = Literal["mix", "first", "refuse"]


@dataclass(frozen=True)
class WaveformFit:
    """How a file becomes a signal of the prior's shape.

    Attributes:
        longer: part of a file that is too long: its ``start``, its ``centre``, or ``refuse`` it.
        shorter: ``pad`` a file that is too short with zeros at its end, or ``refuse`` it.
        channels: of a file with more channels than the signal has: the mean of all (``mix``), the ``first`` ones, or
            ``refuse`` it.

    Raises:
        FieldError: another value.
    """

    longer: Longer = "start"
    shorter: Shorter = "pad"
    channels: Channels = "mix"

    def __post_init__(self) -> None:
        for name, kind in (("longer", Longer), ("shorter", Shorter), ("channels", Channels)):
            if getattr(self, name) not in get_args(kind):
                raise FieldError(name, getattr(self, name), f"must be one of {', '.join(get_args(kind))}")

    def __call__(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """(c, t) -> (C, T).

        Raises:
            ValueError: the rules refuse it, or there are fewer channels than C.
        """
        return self._length(self._channels(x, shape[0]), shape[1])

    def _channels(self, x: Tensor, count: int) -> Tensor:
        if len(x) == count:
            return x
        if len(x) > count and self.channels == "first":
            return x[:count]
        if count == 1 and self.channels == "mix":
            return x.mean(dim=0, keepdim=True)
        raise ValueError(f"{len(x)} channels, and signals have {count}")

    def _length(self, x: Tensor, length: int) -> Tensor:
        spare = x.shape[1] - length
        if spare > 0 and self.longer != "refuse":
            first = 0 if self.longer == "start" else spare // 2
            return x[:, first : first + length]
        if spare < 0 and self.shorter != "refuse":
            return F.pad(x, (0, -spare))
        if spare:
            raise ValueError(f"{x.shape[1]} samples, and signals have {length}")
        return x


def read_waveform(file: Path, shape: Sequence[int], sample_rate: int, fit: WaveformFit) -> Tensor:
    """The signal of a file, (C, T) in [-1, 1].

    Raises:
        FieldError: another sample rate.
        ValueError: the file cannot be read, does not fit, or leaves [-1, 1].
    """
    x = read_audio(file, sample_rate)
    if (peak := float(x.abs().max()) if x.numel() else 0.0) > 1:
        raise ValueError(f"{file} has values up to {peak:.3g}; signals are in [-1, 1]: scale it, it would be clipped")
    try:
        return fit(x, shape)
    except ValueError as error:
        raise ValueError(f"{file} has {error}") from None
