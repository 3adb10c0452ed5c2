"""The encoder of T5, which Stable Diffusion 3 and Flux have beside CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from treg_exp.priors.networks import FrozenNetwork
from treg_exp.priors.precision import Precision, autocast_dtype
from treg_exp.priors.texts.clip import token_ids


class T5:
    """Last hidden states of a T5 encoder. Padding counts as text, as in the pipelines of diffusers.

    Args:
        encoder: transformers ``T5EncoderModel``; the largest of text encoders, so it is stored in bf16 where the prior
            computes in bf16. In float16, in which it overflows, it stays float32.
        tokenizer: transformers ``T5TokenizerFast``.
        length: tokens of every text, padded or cut.
        precision: of the prior.
        device: where the encoder lives.
    """

    def __init__(self, encoder: Any, tokenizer: Any, length: int, precision: Precision, device: torch.device) -> None:
        own: Precision = "fp32" if autocast_dtype(precision, device) == torch.float16 else precision
        self.network = FrozenNetwork(encoder, own, device, stored_in_half=True)
        self.tokenizer, self.length = tokenizer, length
        self.width: int = encoder.config.d_model

    @torch.no_grad()
    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """(B, length, width) float32."""
        ids = token_ids(self.tokenizer, prompts, self.network.device, self.length)
        with self.network.running():
            hidden: Tensor = self.network.module(ids).last_hidden_state
        return hidden.float()
