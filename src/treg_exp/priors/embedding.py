"""Text embeddings as values, and what their rows and columns stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """The part of an embedding's tokens that one text encoder made.

    Attributes:
        width: columns, beginning at ``first_column``.
        first_column: see above.
        first_row: of its tokens.
        stop_row: the row behind its last one; None where it has all the rest.
        contrastive: whether the encoder was trained against an image encoder, so that its columns may be compared with
            image features of the same width.
    """

    width: int
    first_column: int = 0
    first_row: int = 0
    stop_row: int | None = None
    contrastive: bool = True

    @property
    def rows(self) -> slice:
        """The rows as a slice."""
        return slice(self.first_row, self.stop_row)

    @property
    def columns(self) -> slice:
        """The columns as a slice."""
        return slice(self.first_column, self.first_column + self.width)


@dataclass(frozen=True)
class TextLayout:
    """What the rows and columns of an embedding's tokens (B, L, D) stand for.

    Attributes:
        spans: one per text encoder.
    """

    spans: tuple[Span, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of each text encoder."""
        return tuple(span.width for span in self.spans)

    def comparable(self, width: int) -> Span | None:
        """Where image features of this width may be compared with tokens; None where nowhere."""
        return next((span for span in self.spans if span.contrastive and span.width == width), None)


@dataclass(frozen=True)
class TextEmbedding:
    """What a denoiser is told of B texts.

    Attributes:
        tokens: (B, L, D) one row per token.
        layout: what rows and columns of the tokens stand for.
        pooled: (B, P) one vector per text, or None where the denoiser wants none.
        mask: (B, L) of 1 for tokens that count and 0 for padding, or None where all count.
    """

    tokens: Tensor
    layout: TextLayout
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Sequence[int] | slice | Tensor) -> TextEmbedding:
        """The embeddings of some of the texts."""
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=self.tokens.device)
        return self._map(lambda tensor: tensor[index])

    def with_tokens(self, tokens: Tensor) -> TextEmbedding:
        """Other tokens of the same shape, pooled text and mask as they are."""
        return replace(self, tokens=tokens)

    def blended(self, others: TextEmbedding, weights: Tensor) -> TextEmbedding:
        """(1 - sum of weights) of each text plus the weighted others; a token counts where it does in any of them.

        Args:
            others: K texts of the same layout.
            weights: (B, K), with sums up to 1.
        """
        own = 1 - weights.sum(1)

        def mix(mine: Tensor, theirs: Tensor) -> Tensor:
            shape = (-1, *[1] * (mine.dim() - 1))
            return own.view(shape) * mine + torch.einsum("bk,k...->b...", weights, theirs)

        pooled = None if self.pooled is None or others.pooled is None else mix(self.pooled, others.pooled)
        mask = self.mask
        if mask is not None and others.mask is not None:
            mask = (mix(mask.float(), others.mask.float()) > 0).to(mask.dtype)
        return replace(self, tokens=mix(self.tokens, others.tokens), pooled=pooled, mask=mask)

    def to(self, target: torch.device | torch.dtype) -> TextEmbedding:
        """On another device, or in another number format (the mask keeps its own)."""
        moved = self._map(lambda tensor: tensor.to(target))
        return replace(moved, mask=self.mask) if isinstance(target, torch.dtype) else moved

    def repeated(self, times: int) -> TextEmbedding:
        """Every text ``times`` times in a row."""
        return self._map(lambda tensor: tensor.repeat_interleave(times, 0))

    @staticmethod
    def nothing(count: int) -> TextEmbedding:
        """Of ``count`` texts for a denoiser that is told none: no tokens."""
        return TextEmbedding(torch.empty(count, 0, 0), TextLayout(()))

    @staticmethod
    def cat(parts: Sequence[TextEmbedding]) -> TextEmbedding:
        """The texts of all parts, one after the other."""
        first = parts[0]

        def joined(name: str) -> Tensor | None:
            tensors = [getattr(part, name) for part in parts]
            return None if tensors[0] is None else torch.cat(tensors)

        return replace(first, tokens=torch.cat([p.tokens for p in parts]), pooled=joined("pooled"), mask=joined("mask"))

    def _map(self, change: Callable[[Tensor], Tensor]) -> TextEmbedding:
        pooled, mask = (None if tensor is None else change(tensor) for tensor in (self.pooled, self.mask))
        return replace(self, tokens=change(self.tokens), pooled=pooled, mask=mask)
