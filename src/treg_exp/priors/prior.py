"""A diffusion prior: parts behind small protocols, and the spec that a configuration builds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from treg_exp.priors.embedding import TextEmbedding, TextLayout
from treg_exp.priors.info import PriorInfo
from treg_exp.schedule.levels import Level, Prediction


class Codec(Protocol):
    """Between signals in [-1, 1] and latents. Results are float32 whatever the networks compute in."""

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """(B, *signal_shape) -> (B, *latent_shape): the posterior mean, or a sample made from ``noise``."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """(B, *latent_shape) -> (B, *signal_shape), about [-1, 1], not clamped."""
        ...


class Denoiser(Protocol):
    """Estimates signal and noise in a noisy latent."""

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """Float32 estimates for (B, *latent_shape) and B texts, whatever the network's kind of output is."""
        ...


class TextEncoder(Protocol):
    """From prompts to what the denoiser is told."""

    @property
    def layout(self) -> TextLayout:
        """What an embedding is made of."""
        ...

    def embed(self, prompts: Sequence[str]) -> TextEmbedding:
        """Embeddings of B prompts, float32. Longer texts are cut at the encoder's window, as is usual."""
        ...


class ImageText(Protocol):
    """A CLIP-like pair of towers whose features share one space.

    Attributes:
        width: F, of the features.
    """

    width: int

    def image_features(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, F), L2-normalised, differentiable."""
        ...

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """(B, F), L2-normalised."""
        ...


class PairedTowers(ImageText, Protocol):
    """One that can also place the tokens of the prior's text encoder among its features."""

    def project(self, tokens: Tensor) -> Tensor:
        """(..., D) last hidden states of the text tower -> (..., F), where image features are; differentiable."""
        ...


@dataclass(frozen=True)
class Prior:
    """A frozen diffusion model. Its parts decide about precision and memory: what they return is float32.

    Attributes:
        info: sizes, widths and noise levels.
        codec: encodes and decodes signals.
        denoiser: the diffusion network.
        text: embeds prompts; None for a prior without text.
        image_text: compares images and texts; None where there is nothing that could.
    """

    info: PriorInfo
    codec: Codec
    denoiser: Denoiser
    text: TextEncoder | None = None
    image_text: PairedTowers | None = None

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``."""
        return self.codec.encode(x, noise)

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        return self.codec.decode(z)

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        return self.denoiser.predict(z_t, level, text)

    def empty_latent(self, like: Tensor) -> Tensor:
        """A latent for each of the signals ``like`` (B, *signal_shape): its shape and device matter, not its values."""
        return torch.empty(len(like), *self.info.latent_shape(like.shape[1:]), device=like.device)

    @property
    def in_half_precision(self) -> bool:
        """Whether a network computes in less than float32."""
        return any(network.half is not None for network in self._networks())

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute in float32 for a while, with the weights as they are (a second try of what overflowed)."""
        networks = self._networks()
        before = [network.precision for network in networks]
        try:
            for network in networks:
                network.arrange("fp32")
            yield
        finally:
            for network, precision in zip(networks, before, strict=True):
                network.arrange(precision)

    def _networks(self) -> list[Any]:
        """The networks of the parts that say which one they have, see ``networks.FrozenNetwork``."""
        parts = (_innermost(self.codec), _innermost(self.denoiser))
        return [part.network for part in parts if hasattr(part, "network")]


def _innermost(part: Any) -> Any:
    """What a part that counts or stacks is wrapped around."""
    return _innermost(part.wrapped) if hasattr(part, "wrapped") else part


class PriorSpec(Protocol):
    """What a configuration builds: knows a prior without its weights, and loads it.

    It may have ``files``, a list of paths: those that decide what the prior computes. A run keeps their hashes, and is
    not continued with others; and the jobs of one process share a loaded prior while these files and all fields of the
    spec stay the same (it is a dataclass, or has an ``__eq__``).

    Attributes:
        name: for titles.
    """

    @property
    def name(self) -> str:
        """Short name for titles."""
        ...

    @property
    def info(self) -> PriorInfo:
        """Sizes and widths, from configuration files alone."""
        ...

    def check(self) -> None:
        """Refuse a prior that cannot be loaded, before any weights are.

        Raises:
            FieldError: a file is missing, or a value cannot work.
            FileError: a file is broken, or holds the weights of another network.
        """
        ...

    def number_format(self, device: torch.device) -> str:
        """Name of what the denoiser computes in on a device: ``float32``, ``bfloat16`` or ``float16``."""
        ...

    def load(self, device: torch.device | str = "cpu") -> Prior:
        """The prior with its weights, frozen."""
        ...
