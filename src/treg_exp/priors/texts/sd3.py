"""The three text encoders of Stable Diffusion 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.priors.embedding import Span, TextEmbedding, TextLayout
from treg_exp.priors.texts.clip import frozen, side_by_side, token_ids
from treg_exp.priors.texts.t5 import T5


class SD3Text:
    """Two CLIP towers side by side, padded with zero columns, above the tokens of T5.

    Of CLIP the last hidden states but one; the pooled text is that of both, side by side.

    Args:
        encoders: transformers ``CLIPTextModelWithProjection`` of CLIP-L and CLIP-G.
        tokenizers: one each.
        t5: None gives ``t5_rows`` rows of zeros in its place, as the network was trained to do without.
        t5_rows: see above.
        width: of all tokens, that of T5.
        device: where the CLIP towers live.
    """

    def __init__(
        self, encoders: Sequence[Any], tokenizers: Sequence[Any], t5: T5 | None, t5_rows: int, width: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.encoders = [frozen(encoder, device) for encoder in encoders]
        self.tokenizers, self.t5, self.t5_rows = list(tokenizers), t5, t5_rows
        self.width, self.device = width, device
        widths = [encoder.config.hidden_size for encoder in encoders]
        self.layout = sd3_layout(widths, tokenizers[0].model_max_length, None if t5 is None else t5.width)

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> TextEmbedding:
        """See ``TextEncoder``."""
        outputs = [
            encoder(token_ids(tokenizer, prompts, self.device), output_hidden_states=True)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True)
        ]
        clip = torch.cat([output.hidden_states[-2].float() for output in outputs], dim=-1)
        clip = F.pad(clip, (0, self.width - clip.shape[-1]))
        pooled: Tensor = torch.cat([output.text_embeds.float() for output in outputs], dim=-1)
        below = clip.new_zeros(len(clip), self.t5_rows, self.width) if self.t5 is None else self.t5.tokens(prompts)
        return TextEmbedding(torch.cat([clip, below], dim=1), self.layout, pooled)


def sd3_layout(clip_widths: Sequence[int], clip_rows: int, t5_width: int | None) -> TextLayout:
    """CLIP's encoders side by side in the first rows, T5 in the rest."""
    clip = [Span(span.width, span.first_column, 0, clip_rows) for span in side_by_side(clip_widths).spans]
    t5 = [] if t5_width is None else [Span(t5_width, 0, clip_rows, contrastive=False)]
    return TextLayout((*clip, *t5))
