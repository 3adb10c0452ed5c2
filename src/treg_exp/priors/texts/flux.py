"""The two text encoders of Flux."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.embedding import Span, TextEmbedding, TextLayout
from treg_exp.priors.texts.clip import frozen, token_ids
from treg_exp.priors.texts.t5 import T5


class FluxText:
    """The tokens of T5; the pooled text is that of a CLIP tower, whose tokens are not used.

    Args:
        clip: transformers ``CLIPTextModel``.
        tokenizer: its ``CLIPTokenizer``.
        t5: gives the tokens.
        device: where the CLIP tower lives.
    """

    def __init__(self, clip: Any, tokenizer: Any, t5: T5, device: torch.device) -> None:
        self.clip, self.tokenizer, self.t5 = frozen(clip, device), tokenizer, t5
        self.device, self.layout = device, flux_layout(t5.width)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> TextEmbedding:
        """See ``TextEncoder``."""
        pooled: Tensor = self.clip(token_ids(self.tokenizer, prompts, self.device)).pooler_output
        return TextEmbedding(self.t5.tokens(prompts), self.layout, pooled.float())


def flux_layout(width: int) -> TextLayout:
    """T5 alone."""
    return TextLayout((Span(width, contrastive=False),))
