"""Waveforms and spectrograms as pictures, of fixed scales, so that those of a run can be compared; other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 384  # pixels of a whole picture: twice a cell of the grid, so that lines survive the shrinking
INK, ZERO, PAPER = (31, 78, 140), (190, 190, 190), (255, 255, 255)
WINDOW = 512  # samples of a spectrogram's window; more where that would leave gaps
CURVES = 4  # rows of a measurement at most that are drawn as curves
RANGE = 80.0  # dB that a spectrogram shows below a sine of full scale


def waveform(x: Tensor, height: int) -> Image:
    """(T,) as a picture of ``SIDE`` pixels width: the range of values of each column; full height is [-1, 1]."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, height), PAPER)
    pen = ImageDraw.Draw(image)
    pen.line([(0, height // 2), (SIDE, height // 2)], fill=ZERO)
    edges = [round(i * (len(x) - 1) / SIDE) for i in range(SIDE + 1)]
    for column, (first, last) in enumerate(pairwise(edges)):
        part = x[first : last + 1].clamp(-1, 1)  # with the first value of the next column: no gaps
        low, high = ((1 - float(value)) / 2 * (height - 1) for value in (part.min(), part.max()))
        pen.line([(column, round(high)), (column, round(low))], fill=INK)
    return image


def spectrogram(x: Tensor, height: int) -> Image:
    """(T,) as a picture of ``SIDE`` pixels width: dark is loud, high frequencies are above."""
    from PIL import Image

    step = max(1, len(x) // SIDE)
    size = min(max(WINDOW, step), len(x))
    window = torch.hann_window(size)
    bins = torch.stft(x, size, step, window=window, return_complex=True).abs()
    level = 20 * (2 * bins / window.sum()).clamp(min=1e-12).log10()  # 0 dB: a sine of amplitude 1
    grey = (-level / RANGE).clamp(0, 1).flip(0)
    image = Image.fromarray((grey * 255).round().to(torch.uint8).numpy())
    return image.resize((SIDE, height), Image.Resampling.BOX).convert("RGB")


def plot(y: Tensor) -> Image:
    """Any numbers as a picture, scaled to themselves: a measurement that is no signal.

    The last two axes are a map, dark is low; far above the usual value (the median) its grey is logarithmic. Up to
    ``CURVES`` rows, or a vector, are curves below each other instead, the full height is their largest magnitude.
    Complex numbers are shown by their magnitudes, several maps by their root mean square, those of one axis (the
    colours) by their mean. What is not finite is drawn as 0.
    """
    from PIL import Image

    y = y.detach().cpu()
    values = (y.abs() if y.is_complex() else y).double().nan_to_num(posinf=0, neginf=0)
    if values.ndim < 2 or values.shape[-2] <= CURVES:
        rows = values.reshape(-1, values.shape[-1] if values.ndim else 1)[:CURVES]
        largest = float(rows.abs().max()) or 1.0
        return below_each_other([waveform(row / largest, SIDE // len(rows)) for row in rows])
    maps = values.reshape(-1, *values.shape[-2:])
    shown = maps.mean(dim=0) if values.ndim <= 3 else maps.square().mean(dim=0).sqrt()
    others = shown[shown != 0].abs()
    shown = (shown / others.median()).asinh() if len(others) else shown
    low, high = float(shown.min()), float(shown.max())
    grey = ((shown - low) / ((high - low) or 1.0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.NEAREST).convert("RGB")


def below_each_other(parts: Sequence[Image]) -> Image:
    """Pictures of one width as one."""
    from PIL import Image

    image = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        image.paste(part, (0, top))
        top += part.height
    return image
