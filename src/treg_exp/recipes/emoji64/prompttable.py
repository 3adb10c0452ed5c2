"""All captions of all pictures, so that drawing one is drawing a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from treg_exp.priors.texts.clip import token_ids
from treg_exp.recipes.emoji64.captions import caption_variants, names_style
from treg_exp.recipes.emoji64.sources import Picture


class PromptTable:
    """The distinct captions of pictures, each picture's with their weights, and the empty prompt.

    Attributes:
        prompts: distinct captions; the first is the empty one.
    """

    def __init__(self, pictures: Sequence[Picture], tokenizer: object, styled_share: float | None = None) -> None:
        """Collect and tokenise.

        Args:
            pictures: what the captions are of.
            tokenizer: of the text encoder.
            styled_share: see `with_styled_share`.
        """
        position = {"": 0}
        rows, weights = [], []
        for picture in pictures:
            variants = with_styled_share(caption_variants(picture), styled_share)
            rows.append([position.setdefault(caption, len(position)) for caption in variants])
            weights.append(list(variants.values()))
        self.prompts = list(position)
        most = max(map(len, rows))
        self._rows = torch.tensor([row + row[-1:] * (most - len(row)) for row in rows])
        padded = torch.tensor([weight + [0.0] * (most - len(weight)) for weight in weights], dtype=torch.float64)
        self._ends = (padded.cumsum(1) / padded.sum(1, keepdim=True)).float()
        self._tokens = token_ids(tokenizer, self.prompts, torch.device("cpu")).int()
        self._embedded: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, object]) -> PromptTable:
        """Itself, for the reason that `Corpus` has."""
        return self

    def to(self, device: torch.device) -> PromptTable:
        """Move to a device, in place."""
        self._rows, self._ends, self._tokens = (x.to(device) for x in (self._rows, self._ends, self._tokens))
        return self

    def draw(self, indices: Tensor, generator: torch.Generator, dropout: float = 0.0) -> Tensor:
        """One caption for each picture, by its weights.

        Args:
            indices: (B,) int64 positions of pictures, on the device of the table.
            generator: source of the draws, on any device.
            dropout: share of empty prompts.

        Returns:
            (B,) int64 positions in `prompts`.
        """
        drawn = torch.rand(2, len(indices), generator=generator, device=generator.device).to(indices.device)
        chosen = (self._ends[indices] <= drawn[0, :, None]).sum(dim=1).clamp(max=self._rows.shape[1] - 1)
        found = self._rows[indices].gather(1, chosen[:, None])[:, 0]
        return found.masked_fill(drawn[1] < dropout, 0)

    @torch.no_grad()
    def embed_all(self, encode: Callable[[Tensor], Tensor]) -> None:
        """Compute the embeddings of all prompts once, in half precision, on the device of the table.

        Args:
            encode: (B, L) tokens to (B, L, W) embeddings.
        """
        self._embedded = torch.cat([encode(part).half() for part in torch.split(self._tokens, 512)])

    @torch.no_grad()
    def embedded(self, positions: Tensor, encode: Callable[[Tensor], Tensor]) -> Tensor:
        """Embeddings of prompts, looked up if `embed_all` was called.

        Args:
            positions: (B,) int64 in `prompts`.
            encode: see `embed_all`.

        Returns:
            (B, L, W).
        """
        if self._embedded is not None:
            return self._embedded[positions].float()
        return encode(self._tokens[positions])


def with_styled_share(variants: dict[str, float], share: float | None) -> dict[str, float]:
    """Captions of one picture, weighted so that a given share of them names the style.

    Among those that do, and among those that do not, the weights keep their proportions. A picture whose captions are
    all of one kind keeps them.

    Args:
        variants: captions with their weights.
        share: of captions that name the style, 0 to 1; None leaves the weights as they are.
    """
    styled = sum(weight for caption, weight in variants.items() if names_style(caption))
    plain = sum(variants.values()) - styled
    if share is None or not styled or plain < 1e-9:
        return dict(variants)
    factors = {True: share / styled, False: (1.0 - share) / plain}
    return {caption: weight * factors[names_style(caption)] for caption, weight in variants.items()}
