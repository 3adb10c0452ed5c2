"""The convolutions of VGG-16 (Simonyan and Zisserman, arXiv 1409.1556), under the names that torchvision gives them."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

#: Number in torchvision's ``features``, input and output channels, by stage; pooling stands between the stages.
STAGES = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
    ((24, 512, 512), (26, 512, 512), (28, 512, 512)),
)
WIDTHS = tuple(stage[-1][-1] for stage in STAGES)
SMALLEST = 16  # pixels per side: below, the last pooling has nothing left
HOW = (
    "model.safetensors of timm/vgg16.tv_in1k on the Hugging Face Hub, or vgg16-397923af.pth of torchvision "
    "(https://download.pytorch.org/models/vgg16-397923af.pth, 528 MB)"
)


class VGG16(nn.Module):
    """Five stages of 3 x 3 convolutions with ReLUs."""

    def __init__(self) -> None:
        super().__init__()
        layers = [layer for stage in STAGES for layer in stage]
        self.features = nn.ModuleDict({str(n): nn.Conv2d(i, o, 3, padding=1) for n, i, o in layers})

    def forward(self, x: Tensor, pool: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """The last ReLU of each stage, [(B, C, H', W')].

        Args:
            x: (B, 3, H, W), normalised.
            pool: halves height and width.
        """
        found: list[Tensor] = []
        for number, stage in enumerate(STAGES):
            x = pool(x) if number else x
            for name, _, _ in stage:
                x = F.relu(self.features[str(name)](x))
            found.append(x)
        return found
