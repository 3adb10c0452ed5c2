"""Holes that are drawn once per sample: a box somewhere, and free-form brush strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.noise import generator
from treg_exp.operators.checks import check_image_shape, check_integer, check_sample_ids
from treg_exp.operators.linear.masking import Masking


class RandomBoxInpainting(Masking):
    """Everything but a box is measured; the place of the box is drawn per sample (the box task of DPS and DAPS).

    Attributes:
        size: (height, width) of the hole as fractions of the image's sides, in (0, 1).
        margin: least distance of the hole from the image's edge, as a fraction of the side.
    """

    def __init__(
        self,
        size: Sequence[float],
        margin: float,
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
    ) -> None:
        """Draws the place of each sample's box from the stream (seed, sample_id)."""
        _, height, width = check_image_shape(signal_shape)
        check_sample_ids(sample_ids)
        size = tuple(float(v) for v in size)
        if len(size) != 2 or not all(0 < v < 1 for v in size):
            raise FieldError("size", size, "must be two fractions (height, width) in (0, 1)")
        if not margin >= 0 or max(size) + 2 * margin > 1 + 1e-6:
            raise FieldError("margin", margin, f"must be >= 0 and leave room for a hole of size={size}")
        mask = torch.ones(len(sample_ids), 1, height, width)
        for one, sample_id in zip(mask, sample_ids, strict=True):
            stream = generator(seed, sample_id, "box")
            rows, columns = (_place(n, part, margin, stream) for n, part in zip((height, width), size, strict=True))
            one[:, rows, columns] = 0
        super().__init__(mask)
        self.size, self.margin = size, float(margin)


class StrokeInpainting(Masking):
    """Everything but brush strokes is measured, drawn per sample (free-form masks, after Yu et al., ICCV 2019).

    A stroke is a chain of straight segments with round ends. Its direction turns by up to ``max_turn`` at every
    vertex, and every second segment goes back, which keeps it together.

    Attributes:
        strokes: number of strokes, >= 1.
        vertices: segments per stroke, >= 1.
        length: largest length of a segment, as a fraction of the image's smaller side.
        width: (least, largest) width of a brush, as fractions of the smaller side.
        max_turn: largest turn between segments, in degrees.
    """

    def __init__(
        self,
        strokes: int,
        vertices: int,
        length: float,
        width: Sequence[float],
        max_turn: float,
        signal_shape: Sequence[int],
        sample_ids: Sequence[str],
        seed: int = 0,
    ) -> None:
        """Draws the strokes of each sample from the stream (seed, sample_id)."""
        _, H, W = check_image_shape(signal_shape)
        check_sample_ids(sample_ids)
        width = tuple(float(v) for v in width)
        check_integer("strokes", strokes, most=5000)
        check_integer("vertices", vertices, most=5000)
        if not length > 0:
            raise FieldError("length", length, "must be > 0")
        if len(width) != 2 or not 0 < width[0] <= width[1]:
            raise FieldError("width", width, "must be two fractions 0 < least <= largest")
        if not math.isfinite(max_turn):
            raise FieldError("max_turn", max_turn, "must be a finite number of degrees")
        mask = torch.ones(len(sample_ids), 1, H, W)
        for one, sample_id in zip(mask, sample_ids, strict=True):
            stream = generator(seed, sample_id, "strokes")
            for _ in range(strokes):
                points, brush = _stroke(vertices, length, width, math.radians(max_turn), (H, W), stream)
                one[0] *= _distance(points, H, W) > brush / 2
        super().__init__(mask)
        self.strokes, self.vertices, self.length = int(strokes), int(vertices), float(length)
        self.width, self.max_turn = width, float(max_turn)


def _place(side: int, part: float, margin: float, stream: torch.Generator) -> slice:
    """Pixels of a hole along one axis."""
    size, first = max(1, round(part * side)), round(margin * side)
    last = max(first, side - size - first)
    start = int(torch.randint(first, last + 1, (), generator=stream))
    return slice(start, start + size)


def _stroke(
    vertices: int, length: float, width: Sequence[float], turn: float, shape: tuple[int, int], stream: torch.Generator
) -> tuple[Tensor, float]:
    """(vertices + 1, 2) rows and columns of a chain, kept inside the image, and the width of the brush in pixels."""
    side, limit = min(shape), torch.tensor(shape) - 1.0
    point = torch.rand(2, generator=stream) * limit
    angle = float(torch.rand((), generator=stream)) * 2 * math.pi
    points = [point]
    for i in range(vertices):
        angle += float(torch.rand((), generator=stream)) * turn + math.pi * (i % 2)
        step = float(torch.rand((), generator=stream)) * length * side
        point = (point + step * torch.tensor([math.sin(angle), math.cos(angle)])).clamp(min=0).minimum(limit)
        points.append(point)
    least, largest = width
    brush = least + (largest - least) * float(torch.rand((), generator=stream))
    return torch.stack(points), brush * side


def _distance(points: Tensor, H: int, W: int) -> Tensor:
    """(H, W) distance of every pixel from the nearest segment of a chain of points."""
    pixel = torch.cartesian_prod(torch.arange(H), torch.arange(W)).to(points)
    start, along = points[:-1, None], (points[1:] - points[:-1])[:, None]
    place = ((pixel - start) * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True).clamp(min=1e-12)
    nearest = start + place.clamp(0, 1) * along
    distance: Tensor = (pixel - nearest).square().sum(-1).sqrt().amin(0)
    return distance.view(H, W)
