"""CLIP text encoders: one (Stable Diffusion 1 and 2) or two side by side (SDXL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.embedding import Span, TextEmbedding, TextLayout


def frozen(encoder: Any, device: torch.device) -> Any:
    """The encoder on a device, without gradients of its weights."""
    return encoder.to(device).eval().requires_grad_(False)


class ClipText:
    """The last hidden states of one CLIP text encoder.

    Stable Diffusion 2 means the last layer but one of OpenCLIP's tower; its folder has an encoder that ends there.

    Args:
        encoder: transformers ``CLIPTextModel``.
        tokenizer: transformers ``CLIPTokenizer``.
        device: where the encoder lives.
    """

    def __init__(self, encoder: Any, tokenizer: Any, device: torch.device) -> None:
        self.encoder, self.tokenizer = frozen(encoder, device), tokenizer
        self.layout = side_by_side([encoder.config.hidden_size])

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> TextEmbedding:
        """See ``TextEncoder``."""
        hidden: Tensor = self.encoder(token_ids(self.tokenizer, prompts, self.encoder.device)).last_hidden_state
        return TextEmbedding(hidden.float(), self.layout)


class ClipPairText:
    """SDXL (Podell et al., 2307.01952): the last hidden states but one of two encoders, side by side.

    The pooled text is that of the second encoder.

    Args:
        encoders: transformers ``CLIPTextModel`` and ``CLIPTextModelWithProjection``.
        tokenizers: one each.
        device: where the encoders live.
        empty_is_zero: the empty text is all zeros, as SDXL was trained without text, instead of being encoded
            (``force_zeros_for_empty_prompt`` of the folder's ``model_index.json``).
    """

    def __init__(
        self, encoders: Sequence[Any], tokenizers: Sequence[Any], device: torch.device, empty_is_zero: bool = True
    ) -> None:
        self.encoders = [frozen(encoder, device) for encoder in encoders]
        self.tokenizers, self.device, self.empty_is_zero = list(tokenizers), device, empty_is_zero
        self.layout = side_by_side([encoder.config.hidden_size for encoder in encoders])

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> TextEmbedding:
        """See ``TextEncoder``."""
        outputs = [
            encoder(token_ids(tokenizer, prompts, self.device), output_hidden_states=True)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True)
        ]
        tokens = torch.cat([output.hidden_states[-2].float() for output in outputs], dim=-1)
        pooled: Tensor = outputs[1].text_embeds.float()
        if self.empty_is_zero:
            empty = [i for i, prompt in enumerate(prompts) if not prompt]
            tokens[empty], pooled[empty] = 0.0, 0.0
        return TextEmbedding(tokens, self.layout, pooled)


def side_by_side(widths: Sequence[int]) -> TextLayout:
    """The layout of CLIP encoders whose columns stand beside each other; of one, its own."""
    return TextLayout(tuple(Span(width, sum(widths[:i])) for i, width in enumerate(widths)))


def token_ids(tokenizer: Any, prompts: Sequence[str], device: torch.device, length: int | None = None) -> Tensor:
    """(B, L) token numbers, padded or cut to ``length``, or to the tokenizer's window."""
    length = length or tokenizer.model_max_length
    tokens = tokenizer(list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    ids: Tensor = tokens.input_ids.to(device)
    return ids
