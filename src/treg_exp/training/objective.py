"""What a training minimises: the one piece that differs between recipes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Objective(ABC):
    """A network, its loss and the figures that tell how good it is.

    The training draws every batch, and hands over the source of everything else that is random. Both are keyed by
    (seed, step), so an objective that takes its random numbers from there alone is repeated by a continued training.

    Attributes:
        network: everything that is trained, saved and averaged.
    """

    # Networks of diffusers and transformers carry no types.
    network: Any
    #: Whether `loss` gets a generator of the network's device: a GPU would wait for numbers that the CPU draws.
    draws_on_device: bool = False

    @abstractmethod
    def loss(self, batch: Any, generator: torch.Generator) -> Tensor:
        """Mean loss of one batch, a scalar.

        Args:
            batch: what the data module yields, or an equal part of it.
            generator: source of everything random in it, on the CPU unless `draws_on_device`.
        """

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """What is measured at a validation. ``network`` then holds the averaged weights, in evaluation mode."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of the optimiser; those for which Muon is meant say ``orthogonal: True``."""
        return [{"params": list(self.network.parameters())}]

    def prepare(self, number_format: str) -> None:  # noqa: B027 (most need nothing)
        """Called once before the first step, with the network on its device.

        Args:
            number_format: Lightning's name of what the network computes in, such as ``32-true`` or ``bf16-mixed``.
        """

    def advance(self, progress: float, average: nn.Module) -> None:  # noqa: B027
        """Called before each step, and again for the same one after a continuation.

        Args:
            progress: share of the budget that is used up, 0 to 1.
            average: the network with averaged weights, to be read only.
        """

    def meaning(self) -> Mapping[str, str]:
        """What the weights only make sense with: a checkpoint with another meaning is refused."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        device: torch.device = next(self.network.parameters()).device
        return device
