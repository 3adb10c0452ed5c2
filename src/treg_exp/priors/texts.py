"""From prompts to what a denoiser is told: one text encoder (Stable Diffusion 1 and 2) or two (SDXL)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.priors.base import TextLayout


class Texts(Protocol):
    """Text encoders and the form in which their denoiser wants to have their answer."""

    @property
    def layout(self) -> TextLayout:
        """What an embedding is made of."""
        ...

    def to(self, device: torch.device) -> Texts:
        """Move the encoders, and freeze them."""
        ...

    def embed(self, prompts: Sequence[str]) -> Tensor:
        """(B, L, D) embeddings, float32. Texts longer than the encoder's window are cut, as everywhere in the field."""
        ...

    def conditions(self, text: Tensor, height: int, width: int) -> dict[str, Any]:
        """What the denoiser is called with, for embeddings (B, L, D) and images of so many pixels."""
        ...


@dataclass
class OneText:
    """The last hidden states of one CLIP text encoder.

    Stable Diffusion 2 means the last layer but one of OpenCLIP's tower; its folder has an encoder that ends there.

    Attributes:
        encoder: transformers ``CLIPTextModel``.
        tokenizer: transformers ``CLIPTokenizer``.
    """

    encoder: Any
    tokenizer: Any

    @property
    def layout(self) -> TextLayout:
        """See :class:`Texts`."""
        return TextLayout((self.encoder.config.hidden_size,))

    def to(self, device: torch.device) -> OneText:
        """See :class:`Texts`."""
        self.encoder.to(device).eval().requires_grad_(False)
        return self

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """See :class:`Texts`."""
        hidden: Tensor = self.encoder(token_ids(self.tokenizer, prompts, self.encoder.device)).last_hidden_state
        return hidden.float()

    def conditions(self, text: Tensor, height: int, width: int) -> dict[str, Any]:
        """See :class:`Texts`."""
        return {"encoder_hidden_states": text}


@dataclass
class TwoTexts:
    """SDXL (Podell et al., 2307.01952): the last hidden states but one of two encoders, side by side.

    The pooled text of the second one is kept as a last row of the embedding, filled up with zeros, so that prompt
    and null text stay one tensor each. Beside it the denoiser is told the size of the picture and its crop.

    Attributes:
        encoders: transformers ``CLIPTextModel`` and ``CLIPTextModelWithProjection``.
        tokenizers: one each.
        empty_is_zero: the empty text is all zeros, as SDXL was trained without text, instead of being encoded
            (``force_zeros_for_empty_prompt`` of the folder's ``model_index.json``).
    """

    encoders: tuple[Any, Any]
    tokenizers: tuple[Any, Any]
    empty_is_zero: bool = True

    @property
    def layout(self) -> TextLayout:
        """See :class:`Texts`."""
        return TextLayout(tuple(encoder.config.hidden_size for encoder in self.encoders), pooled=True)

    def to(self, device: torch.device) -> TwoTexts:
        """See :class:`Texts`."""
        for encoder in self.encoders:
            encoder.to(device).eval().requires_grad_(False)
        return self

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """See :class:`Texts`. (B, L + 1, D), the pooled text last."""
        outputs = [
            encoder(token_ids(tokenizer, prompts, encoder.device), output_hidden_states=True)
            for encoder, tokenizer in zip(self.encoders, self.tokenizers, strict=True)
        ]
        tokens = torch.cat([output.hidden_states[-2].float() for output in outputs], dim=-1)
        pooled = outputs[1].text_embeds.float()
        text = torch.cat([tokens, F.pad(pooled, (0, tokens.shape[-1] - pooled.shape[-1]))[:, None]], dim=1)
        if self.empty_is_zero:
            text[[i for i, prompt in enumerate(prompts) if not prompt]] = 0.0
        return text

    def conditions(self, text: Tensor, height: int, width: int) -> dict[str, Any]:
        """See :class:`Texts`. The picture is said to have its own size, uncropped."""
        size = torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=text.device)
        pooled = text[:, -1, : self.encoders[1].config.projection_dim]
        return {
            "encoder_hidden_states": text[:, :-1],
            "added_cond_kwargs": {"text_embeds": pooled, "time_ids": size.expand(len(text), -1)},
        }


def token_ids(tokenizer: Any, prompts: Sequence[str], device: torch.device) -> Tensor:
    """(B, L) token numbers, padded or cut to the tokenizer's window."""
    length = tokenizer.model_max_length
    tokens = tokenizer(list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    ids: Tensor = tokens.input_ids.to(device)
    return ids
