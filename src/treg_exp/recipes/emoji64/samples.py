"""Draw samples of a finished prior and arrange them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

#: The sheet of samples: both free prompts and prompts in the form of the test set.
SHEET_PROMPTS = (
    "red apple, fluent style",
    "green apple, fluent style",
    "red apple, noto style",
    "red apple, twemoji style",
    "relieved face, fluent style",
    "angry face, noto style",
    "winking face, twemoji style",
    "red heart, noto style",
    "blue heart, fluent style",
    "tiger, twemoji style",
    "pig face, fluent style",
    "koala, noto style",
    "full moon, noto style",
    "crown, fluent style",
    "luggage, fluent style",
    "octopus, noto style",
    "flag of france, noto style",
    "police car, twemoji style",
    "slice of pizza, twemoji style",
    "sunflower, fluent style",
    "a photo of a banana",
    "an emoji of a dog face",
    "a house",
    "",
)

#: Pairs of pictures on the other sheets of the card.
PAIRS = 12


@dataclass(frozen=True)
class Sampling:
    """How samples of a prior are drawn.

    Attributes:
        guidance: scale of classifier-free guidance; 1 is none.
        steps: DDIM steps.
    """

    guidance: float = 4.0
    steps: int = 50


@torch.no_grad()
def draw_samples(
    pipe: StableDiffusionPipeline,
    prompts: list[str],
    guidance: float = Sampling.guidance,
    steps: int = Sampling.steps,
    batch: int = 32,
) -> Tensor:
    """One sample per prompt, each from its own seed, on the GPU if there is one.

    Args:
        pipe: a loaded prior.
        prompts: B texts.
        guidance: scale of classifier-free guidance.
        steps: DDIM steps.
        batch: prompts per network call.

    Returns:
        (B, 3, 64, 64) in [-1, 1].
    """
    pipe.set_progress_bar_config(disable=True)
    pipe.to("cuda" if torch.cuda.is_available() else "cpu")
    parts = []
    for start in range(0, len(prompts), batch):
        chunk = prompts[start : start + batch]
        generators = [torch.Generator().manual_seed(start + offset) for offset in range(len(chunk))]
        drawn = pipe(chunk, guidance_scale=guidance, num_inference_steps=steps, generator=generators, output_type="pt")
        parts.append(drawn.images.float().cpu() * 2.0 - 1.0)
    pipe.to("cpu")  # where everything else is measured
    return torch.cat(parts)


def contact_sheet(images: Tensor, columns: int = 6, zoom: int = 2) -> Tensor:
    """Arrange pictures in rows.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        columns: pictures per row.
        zoom: integer magnification.

    Returns:
        (3, rows * H * zoom, columns * W * zoom) in [-1, 1], missing places white.
    """
    count, channels, height, width = images.shape
    missing = -count % columns
    padded = torch.cat([images, torch.ones(missing, channels, height, width)])
    grid = padded.view(-1, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    sheet = grid.reshape(channels, -1, columns * width)
    return sheet.repeat_interleave(zoom, dim=1).repeat_interleave(zoom, dim=2)


def sheet_of_pairs(left: Tensor, right: Tensor) -> Tensor:
    """Arrange pairs of pictures side by side, three pairs in a row.

    Args:
        left: (B, 3, H, W) in [-1, 1].
        right: likewise.
    """
    return contact_sheet(torch.stack([left, right], dim=1).flatten(0, 1))
