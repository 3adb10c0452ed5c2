"""What adaptive negation does to the denoiser: how far the null text moves, and what the network makes of it.

    python docs/results/scripts/negation.py

On 12 pictures of the test set with the shipped prior. Prints, after n updates at the released rate: how far the tokens
of the null text have moved relative to their norm, how large the change of the null text's estimate is beside
prompt - null (and that of a move of the same length with its columns shuffled), its cosine with prompt - null, and
which share of the change behind the first cross-attention is the same at every place of the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from treg_exp.api import AdaptiveNegation, load_prior
from treg_exp.data.emoji_test import EmojiTest
from treg_exp.text.policy import TextPolicy
from treg_exp.text.state import StepState

COUNT, STEPS, UPDATES, LEVELS = 12, 50, (1, 17, 50), (2, 10, 20, 30, 45)


@torch.no_grad()
def main() -> None:
    """Measure and print; half a minute on one core."""
    prior, data = load_prior("emoji64"), EmojiTest()
    samples = [data[i] for i in range(COUNT)]
    x = torch.stack([sample.target for sample in samples])
    text = TextPolicy().start(prior, [{"prompt": sample.captions["caption"]} for sample in samples])
    z_0, moves = prior.encode(x), prior.info.moves(STEPS, x.shape[1:])
    seen = outputs_of_first_attention(prior)
    state: Any = StepState(None, None, None, x, None)  # type: ignore[arg-type]
    for updates in UPDATES:
        moved = text
        for _ in range(updates):
            moved = AdaptiveNegation().update(prior, moved, state)
        shift = moved.null.tokens - text.null.tokens
        far = (shift.norm(dim=-1) / text.null.tokens.norm(dim=-1)).mean()
        shuffled = shift[..., torch.randperm(shift.shape[-1], generator=torch.Generator().manual_seed(0))]
        print(f"{updates} updates: tokens moved by {far:.3f} of their norm")
        for k in LEVELS:
            level = moves[k].now
            z_t = level.noisy(z_0, torch.randn(z_0.shape, generator=torch.Generator().manual_seed(k)))
            texts = (text.null, moved.null, text.null.with_tokens(text.null.tokens + shuffled), text.prompt)
            seen.clear()
            null, negated, random, prompt = (prior.predict(z_t, level, told).z_0 for told in texts)
            guidance, change = prompt - null, negated - null
            behind = seen[1] - seen[0]
            same = behind.mean(1, keepdim=True).expand_as(behind).square().sum() / behind.square().sum()
            print(
                f"  step {k}: change {ratio(change, guidance):.3f} of prompt - null (shuffled "
                f"{ratio(random - null, guidance):.3f}), cosine {cosine(change, guidance):+.3f} (shuffled "
                f"{cosine(random - null, guidance):+.3f}); same at every place: {same:.6f}"
            )


def outputs_of_first_attention(prior: Any) -> list[Tensor]:
    """A list that the first cross-attention of the U-Net appends its outputs (B, places, channels) to."""
    seen: list[Tensor] = []
    layers = [m for name, m in prior.denoiser.network.module.named_modules() if name.endswith("attn2")]
    layers[0].register_forward_hook(lambda module, given, output: seen.append(output))
    return seen


def ratio(a: Tensor, b: Tensor) -> float:
    """Mean ratio of the norms of samples."""
    return float((a.flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).mean())


def cosine(a: Tensor, b: Tensor) -> float:
    """Mean cosine of samples."""
    return float(torch.cosine_similarity(a.flatten(1), b.flatten(1)).mean())


if __name__ == "__main__":
    main()
