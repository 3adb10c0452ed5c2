"""A prior of several signals at once: independent sources, as separation needs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from treg_exp.priors.embedding import TextEmbedding
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.prior import Codec, Denoiser, Prior
from treg_exp.schedule.levels import Level, Move, Prediction, check_moves


@dataclass(frozen=True)
class StackedInfo(PriorInfo):
    """Of signals (K, *native shape); see ``PriorInfo``."""

    def latent_shape(self, signal_shape: Sequence[int]) -> tuple[int, ...]:
        """See ``PriorInfo``: (K, *latent shape of one source)."""
        return (signal_shape[0], *super().latent_shape(signal_shape[1:]))

    def moves(self, steps: int, signal_shape: Sequence[int]) -> list[Move]:
        """See ``PriorInfo``: those of one source, whose size the schedule may depend on."""
        moves = self.schedule.moves(steps, super().latent_shape(signal_shape[1:]))
        check_moves(moves, self.kind)
        return moves


@dataclass(frozen=True)
class StackedCodec:
    """Every source by itself: (B, K, ...) as (B K, ...)."""

    wrapped: Codec

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """See ``Codec``."""
        flat = None if noise is None else noise.flatten(0, 1)
        return _unfolded(lambda sources: self.wrapped.encode(sources, flat), x)

    def decode(self, z: Tensor) -> Tensor:
        """See ``Codec``."""
        return _unfolded(self.wrapped.decode, z)


@dataclass(frozen=True)
class StackedDenoiser:
    """Every source by itself; all sources of a sample are told the same text."""

    wrapped: Denoiser

    def predict(self, z_t: Tensor, level: Level, text: TextEmbedding | None = None) -> Prediction:
        """See ``Denoiser``."""
        each = None if text is None else text.repeated(z_t.shape[1])
        at = self.wrapped.predict(z_t.flatten(0, 1), level.map(lambda value: _of_sources(value, z_t)), each)
        return Prediction(at.z_0.view_as(z_t), at.eps.view_as(z_t))


def info_for_signals(info: PriorInfo, signal_shape: Sequence[int]) -> PriorInfo:
    """The info for signals of this shape: of one native signal, or of K of them, (K, *native shape)."""
    if len(signal_shape) != len(info.signal_shape) + 1:
        return info
    return StackedInfo(**{name: getattr(info, name) for name in info.__dataclass_fields__})


def for_signals(prior: Prior, signal_shape: Sequence[int]) -> Prior:
    """The prior for signals of this shape, see `info_for_signals`."""
    info = info_for_signals(prior.info, signal_shape)
    if info is prior.info:
        return prior
    return replace(prior, info=info, codec=StackedCodec(prior.codec), denoiser=StackedDenoiser(prior.denoiser))


def _of_sources(value: Tensor, z_t: Tensor) -> Tensor:
    """A level's numbers for (B, K, ...), or for B samples alone, as those of (B K, ...)."""
    if value.dim() < 2:
        value = value.view(-1, 1)
    return value.expand(*z_t.shape[:2], *value.shape[2:]).flatten(0, 1)


def _unfolded(each: Callable[[Tensor], Tensor], sources: Tensor) -> Tensor:
    """``each`` on (B K, ...), back as (B, K, ...)."""
    results = each(sources.flatten(0, 1))
    return results.reshape(*sources.shape[:2], *results.shape[1:])
