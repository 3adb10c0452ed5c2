"""What a solver may ask of a diffusion prior."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from treg_exp.schedule import Point, Schedule


@dataclass(frozen=True)
class TextLayout:
    """What the rows and columns of a text embedding (B, L, D) stand for.

    Attributes:
        widths: columns of each text encoder, in order; they add up to D.
        pooled: whether the last row is a pooled text, filled up with zeros, and no token (SDXL).
    """

    widths: tuple[int, ...]
    pooled: bool = False

    @property
    def width(self) -> int:
        """Columns D."""
        return sum(self.widths)

    def tokens(self, text: Tensor) -> int:
        """How many rows of (B, L, D) are tokens; they come first."""
        return text.shape[1] - self.pooled

    def columns(self, width: int) -> slice | None:
        """Columns of the first encoder that is ``width`` wide; None where there is none."""
        if width not in self.widths:
            return None
        start = sum(self.widths[: self.widths.index(width)])
        return slice(start, start + width)


class ImageTextEncoder(Protocol):
    """A CLIP-like pair of towers whose features share one space."""

    width: int

    def image_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, F), L2-normalised, differentiable."""
        ...

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """(B, F), L2-normalised."""
        ...


class Prior(Protocol):
    """A frozen latent diffusion model. Precision and memory policy are its own business: results are float32.

    Attributes:
        schedule: noise schedule of the network.
        image_size: native height and width in pixels.
        clip: image and text features in one space, or None where the prior has none.
    """

    schedule: Schedule
    image_size: int
    clip: ImageTextEncoder | None

    @property
    def text_layout(self) -> TextLayout:
        """Rows and columns of a text embedding."""
        ...

    @property
    def feature_width(self) -> int | None:
        """Width of the image features; None without ``clip``."""
        ...

    @property
    def in_half_precision(self) -> bool:
        """Whether the networks compute in less than float32."""
        ...

    def in_float32(self) -> AbstractContextManager[None]:
        """Compute in float32 for a while (a second try of what overflowed)."""
        ...

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, c, h, w): the posterior mean, or a sample made from ``noise``."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """(B, c, h, w) -> (B, 3, H, W), about [-1, 1], not clamped."""
        ...

    def predict(self, z_t: Tensor, point: Point, text: Tensor) -> Tensor:
        """Noise estimate eps, (B, c, h, w), for text embeddings (B, L, D)."""
        ...

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """(B, L, D) text embeddings."""
        ...

    def empty_latent(self, batch_size: int, image_shape: tuple[int, int, int]) -> Tensor:
        """A (B, c, h, w) tensor that stands for the latent's shape, device and dtype.

        Raises:
            ValueError: the image size does not fit the autoencoder.
        """
        ...


class Counted:
    """A prior that counts network evaluations, one per row of the batch (a guided step counts 2 per sample)."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self.evaluations = 0
        self.schedule, self.image_size = prior.schedule, prior.image_size
        self.clip = prior.clip

    @property
    def text_layout(self) -> TextLayout:
        """See :class:`Prior`."""
        return self.prior.text_layout

    @property
    def feature_width(self) -> int | None:
        """See :class:`Prior`."""
        return self.prior.feature_width

    @property
    def in_half_precision(self) -> bool:
        """See :class:`Prior`."""
        return self.prior.in_half_precision

    def in_float32(self) -> AbstractContextManager[None]:
        """See :class:`Prior`."""
        return self.prior.in_float32()

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See :class:`Prior`."""
        return self.prior.encode(x, noise)

    def decode(self, z: Tensor) -> Tensor:
        """See :class:`Prior`."""
        return self.prior.decode(z)

    def predict(self, z_t: Tensor, point: Point, text: Tensor) -> Tensor:
        """See :class:`Prior`."""
        self.evaluations += z_t.shape[0]
        return self.prior.predict(z_t, point, text)

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """See :class:`Prior`."""
        return self.prior.embed(prompts)

    def empty_latent(self, batch_size: int, image_shape: tuple[int, int, int]) -> Tensor:
        """See :class:`Prior`."""
        return self.prior.empty_latent(batch_size, image_shape)
