"""What the four stages have in common: the corpus, which parameters suit Muon, and locking a part of a network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from treg_exp.recipes.emoji64.corpus import CorpusFolder
from treg_exp.training.data import KeyedBatches
from treg_exp.training.objective import Objective


class EmojiBatches(KeyedBatches):
    """Positions of random training pictures, (B,) int64.

    Args:
        corpus: where pictures and split are.
        batch_size: pictures per step.
        seed: of the draws.
        further: also the drawings in further styles, for stages that learn what things look like in any style.
    """

    def __init__(self, corpus: CorpusFolder, batch_size: int, seed: int = 0, further: bool = False) -> None:
        split = corpus.load().split
        super().__init__(split.train + (split.further if further else ()), batch_size, seed)


class PictureObjective(Objective):
    """Base of the stages: a subclass names its loss and its figures.

    Args:
        network: what is trained.
        corpus: where pictures and split are.
    """

    #: Parts of names of parameters that do not mix hidden features: first and last layers, embeddings.
    outer: tuple[str, ...] = ("conv_in.", "conv_out.", "embedding", "quant_conv.")

    def __init__(self, network: nn.Module, corpus: CorpusFolder) -> None:
        self.network = network
        self.corpus = corpus.load()
        self.held_out = torch.tensor(self.corpus.split.held_out)

    def suits_muon(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter mixes hidden features; kernels of single channels do not.

        Args:
            name: dotted name of the parameter within the network.
            parameter: the parameter itself.
        """
        return parameter.ndim > 1 and parameter.shape[1] > 1 and not any(part in name for part in self.outer)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Hidden matrices and kernels, and the rest."""
        named = list(self.network.named_parameters())
        hidden = {name for name, parameter in named if self.suits_muon(name, parameter)}
        return [
            {"params": [p for name, p in named if name in hidden], "orthogonal": True},
            {"params": [p for name, p in named if name not in hidden], "orthogonal": False},
        ]

    def lock(self, average: nn.Module, *parts: str) -> None:
        """Take averaged parts of the network and train them no further; called again, it does nothing.

        Args:
            average: the network with averaged weights.
            parts: names of sub-networks.
        """
        for part in parts:
            network = getattr(self.network, part)
            if next(network.parameters()).requires_grad:
                network.load_state_dict(getattr(average, part).state_dict())
                network.requires_grad_(False)
