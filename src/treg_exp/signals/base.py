"""What a medium is: how its signals are kept without loss, and how they are shown."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from treg_exp.files import write_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURE = ".png"  # ending of pictures, whatever the medium
DEVIATION_SCALE = 0.5  # standard deviation, in units of [-1, 1], at which its picture is as strong as can be


class Medium(ABC):
    """One kind of signal. Values are in [-1, 1]; a signal of K sources has one axis more, in front.

    Attributes:
        name: what priors, data and metrics call it.
        noun: one signal, in headings.
        suffix: ending of its files, with the dot.
        axes: number of axes of one signal, the channels first.
        deviation_note: how the picture of a standard deviation is read.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    suffix: ClassVar[str]
    axes: ClassVar[int]
    deviation_note: ClassVar[str]

    @abstractmethod
    def holds(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape can be shown as one signal, whatever its size."""

    def keeps(self, shape: Sequence[int], signal_shape: Sequence[int]) -> bool:
        """Whether a measurement of this shape can be kept as a signal is, and not only shown."""
        return self.holds(shape)

    @abstractmethod
    def encode(self, signal: Tensor) -> bytes:
        """The content of the file of one signal."""

    @abstractmethod
    def decode(self, file: Path) -> Tensor:
        """One signal from a file that `encode` made, float32."""

    @abstractmethod
    def picture(self, signal: Tensor) -> Image:
        """A signal for the eye; of several sources all of them."""

    @abstractmethod
    def deviation_picture(self, deviation: Tensor) -> Image:
        """The standard deviation of every value of a signal for the eye, see ``DEVIATION_SCALE``."""

    @classmethod
    def stacked(cls, shape: Sequence[int]) -> bool:
        """Whether signals of this shape consist of several sources."""
        return len(shape) == cls.axes + 1

    def save(self, signal: Tensor, stem: Path) -> None:
        """Write ``<stem><suffix>``, or ``<stem>_1<suffix>`` and so on of several sources, and the picture.

        That is ``<stem>.png`` and comes last: where it is, the rest is.

        Args:
            signal: finite values; they are stored as they are, as far as the kind of file holds them.
            stem: path without ending.
        """
        sources = list(signal) if self.stacked(signal.shape) else [signal]
        for number, source in enumerate(sources, 1):
            name = f"{stem.name}_{number}" if len(sources) > 1 else stem.name
            write_bytes(stem.with_name(name + self.suffix), self.encode(source))
        if self.suffix != PICTURE or len(sources) > 1:
            save_picture(self.picture(signal), stem)

    def load(self, stem: Path) -> Tensor:
        """What `save` wrote: one signal, or the sources as (K, *signal_shape).

        Raises:
            FileNotFoundError: there is none.
        """
        file = stem.with_name(stem.name + self.suffix)
        count = len(list(stem.parent.glob(f"{stem.name}_*{self.suffix}")))
        if not count:
            return self.decode(file)
        numbered = [stem.with_name(f"{stem.name}_{number}{self.suffix}") for number in range(1, count + 1)]
        return torch.stack([self.decode(source) for source in numbered])


def png(image: Image, optimize: bool = False) -> bytes:
    """A picture as the content of a PNG file; ``optimize`` spends time on a smaller one."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()


def save_picture(image: Image, stem: Path) -> None:
    """Write ``<stem>.png``."""
    write_bytes(stem.with_name(stem.name + PICTURE), png(image))
