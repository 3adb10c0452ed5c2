"""Operators that keep some places of a signal and zero the others, all channels alike: masks of images first of all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.operators.checks import check_image_shape, check_sample_ids, check_signal_shape
from treg_exp.operators.linear.base import LinearOperator


class Masking(LinearOperator):
    """A x = mask * x; the measurement has the shape of the signal, with zeros where nothing is measured.

    Attributes:
        mask: (1, 1, ...) shared or (B, 1, ...) per sample, 1 where a place is measured, else 0; the axes after the
            channels are those of the signal, as (1, 1, H, W) for images.
    """

    elementwise = True
    per_sample = ("mask",)

    def __init__(self, mask: Tensor, channels: int = 3) -> None:
        """Checks the mask, which all ``channels`` of a signal share, and stores it in float32."""
        if mask.dim() < 3 or mask.shape[1] != 1:
            raise FieldError("mask", tuple(mask.shape), "shape must be (1 or B, 1, ...)")
        mask = mask.to(torch.float32)
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise FieldError("mask", tuple(mask.shape), "values must be 0 or 1")
        if not bool(mask.flatten(1).any(1).all()):
            raise FieldError("mask", tuple(mask.shape), "measures nothing")
        shape = (channels, *mask.shape[2:])
        super().__init__(shape, shape)
        self.mask = mask

    @property
    def norm_sq(self) -> float:
        """1: at least one place is measured."""
        return 1.0

    def measured(self) -> Tensor:
        """The mask on every channel."""
        return self.mask.expand(-1, *self.measurement_shape)

    def _A(self, x: Tensor) -> Tensor:
        return self.mask * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.mask * y

    def _solve(self, residual: Tensor, lam: float | Tensor) -> Tensor:
        return self.mask / (1 + lam) * residual

    def _prox(self, y: Tensor, x0: Tensor, lam: float | Tensor) -> Tensor:
        return torch.lerp(x0, y, self.mask / (1 + lam))


class Identity(Masking):
    """A x = x: denoising."""

    def __init__(self, signal_shape: Sequence[int]) -> None:
        """Takes the shape of the signal, (C, ...)."""
        channels, *places = check_signal_shape(signal_shape)
        super().__init__(torch.ones(1, 1, *places), channels)


class BoxInpainting(Masking):
    """Everything but a box is measured.

    Attributes:
        box: (top, left, height, width) of the hole as fractions of the image's height and width; edges are
            rounded to pixels.
    """

    def __init__(self, box: Sequence[float], signal_shape: Sequence[int]) -> None:
        """Takes the box and the image shape (3, H, W)."""
        _, height, width = check_image_shape(signal_shape)
        box = tuple(float(v) for v in box)
        if len(box) != 4 or not all(0 <= v <= 1 for v in box):
            raise FieldError("box", box, "must be four fractions (top, left, height, width) in [0, 1]")
        if box[0] + box[2] > 1 + 1e-6 or box[1] + box[3] > 1 + 1e-6:
            raise FieldError("box", box, "is partly outside the image (top + height, left + width must be <= 1)")
        rows = slice(round(box[0] * height), round((box[0] + box[2]) * height))
        columns = slice(round(box[1] * width), round((box[1] + box[3]) * width))
        mask = torch.ones(1, 1, height, width)
        mask[:, :, rows, columns] = 0
        if bool(mask.all()):
            raise FieldError("box", box, f"covers no pixel of a {height}x{width} image")
        if not bool(mask.any()):
            raise FieldError("box", box, f"covers the whole {height}x{width} image, nothing would be measured")
        super().__init__(mask)
        self.box = box


class Outpainting(Masking):
    """Only a box in the middle is measured; everything around it is to be painted.

    Attributes:
        kept: (height, width) of the measured box as fractions of the image's sides, in (0, 1]; rounded to pixels.
    """

    def __init__(self, kept: Sequence[float], signal_shape: Sequence[int]) -> None:
        """Takes the size of the box and the image shape (3, H, W)."""
        _, height, width = check_image_shape(signal_shape)
        kept = tuple(float(v) for v in kept)
        if len(kept) != 2 or not all(0 < v <= 1 for v in kept):
            raise FieldError("kept", kept, "must be two fractions (height, width) in (0, 1]")
        h, w = round(kept[0] * height), round(kept[1] * width)
        if h * w == 0:
            raise FieldError("kept", kept, f"no pixel of a {height}x{width} image, nothing would be measured")
        mask = torch.zeros(1, 1, height, width)
        top, left = (height - h) // 2, (width - w) // 2
        mask[:, :, top : top + h, left : left + w] = 1
        super().__init__(mask)
        self.kept = kept


class RandomInpainting(Masking):
    """A fixed number of pixels is measured, at random places of each sample.

    Attributes:
        fraction: measured fraction of the pixels, in (0, 1].
    """

    def __init__(self, fraction: float, signal_shape: Sequence[int], sample_ids: Sequence[str], seed: int = 0) -> None:
        """Draws the mask of each sample from the stream (seed, sample_id)."""
        _, height, width = check_image_shape(signal_shape)
        check_sample_ids(sample_ids)
        if not 0 < fraction <= 1:
            raise FieldError("fraction", fraction, "must be in (0, 1]")
        count = max(1, round(fraction * height * width))
        mask = torch.zeros(len(sample_ids), height * width)
        for row, sample_id in zip(mask, sample_ids, strict=True):
            places = torch.randperm(height * width, generator=generator(seed, sample_id, "mask"))
            row[places[:count]] = 1
        super().__init__(mask.view(-1, 1, height, width))
        self.fraction = float(fraction)
