"""Recordings of which some samples are lost: a gap, single samples at random places, or both."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.operators.checks import check_audio_shape, check_sample_ids
from treg_exp.operators.linear.masking import Masking


class SampleMask(Masking):
    """A x = mask * x on recordings (C, T), all channels alike; zeros where a sample is hidden.

    Attributes:
        gap: (start, length) of the hidden gap as fractions of the duration, rounded to samples; None for no gap.
        fraction: hidden part of the samples outside the gap, at random places of each recording, in [0, 1).
    """

    def __init__(
        self,
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        gap: Sequence[float] | None = None,
        fraction: float = 0.0,
        seed: int = 0,
    ) -> None:
        """Draws the hidden places of each recording from the stream (seed, sample_id)."""
        channels, duration = check_audio_shape(signal_shape)
        check_sample_ids(sample_ids)
        gap = None if gap is None else tuple(float(v) for v in gap)
        if not 0 <= fraction < 1:
            raise FieldError("fraction", fraction, "must be in [0, 1)")
        outside = torch.ones(duration)
        outside[_samples(gap, duration)] = 0
        places = outside.nonzero().flatten()
        hidden = round(fraction * len(places))
        if hidden == len(places):
            raise FieldError("fraction", fraction, f"hides all {len(places)} samples, nothing would be measured")
        if hidden == 0 and gap is None:
            raise FieldError("fraction", fraction, f"hides none of {duration} samples, and there is no gap")
        mask = outside.repeat(len(sample_ids), 1, 1)
        for one, sample_id in zip(mask, sample_ids, strict=True):
            order = torch.randperm(len(places), generator=generator(seed, sample_id, "hidden samples"))
            one[0, places[order[:hidden]]] = 0
        super().__init__(mask, channels)
        self.gap, self.fraction = gap, float(fraction)


def _samples(gap: tuple[float, ...] | None, duration: int) -> slice:
    """The samples of the gap, checked."""
    if gap is None:
        return slice(0)
    if len(gap) != 2 or not (0 <= gap[0] <= 1 and 0 < gap[1] < 1):
        raise FieldError("gap", gap, "must be two fractions (start, length) in [0, 1], the length > 0 and < 1")
    if gap[0] + gap[1] > 1 + 1e-6:
        raise FieldError("gap", gap, "is partly outside the recording (start + length must be <= 1)")
    inside = slice(round(gap[0] * duration), round((gap[0] + gap[1]) * duration))
    if inside.stop - inside.start in (0, duration):
        which = "no" if inside.stop == inside.start else "every"
        raise FieldError("gap", gap, f"covers {which} sample of {duration}")
    return inside
