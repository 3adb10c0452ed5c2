"""The exponential moving average of the weights: what a training is validated and exported with."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from treg_exp.errors import FieldError


class MovingAverage(WeightAveraging):
    """Lightning's `WeightAveraging` with an average that follows faster while it is young.

    Lightning's callback keeps both sets of weights in the checkpoint, swaps them for a validation and leaves the
    average in the module at the end. Its own `EMAWeightAveraging` has one factor from the first step on: 0.999 would
    still hold a third of the random start after 1,000 steps. And nothing of it tells what the average is during the
    training, which an objective needs that locks a part of its network.

    Args:
        decay: largest factor by which the average is kept in a step.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0.0 <= decay < 1.0:
            raise FieldError("decay", decay, "must be >= 0 and < 1")
        super().__init__(use_buffers=False, multi_avg_fn=partial(_follow, decay=decay))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Make the average where the training will be; at this moment the module is still on the CPU."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    @property
    def module(self) -> Any:
        """The averaged copy of the module that is trained; to be read only."""
        assert self._average_model is not None
        return self._average_model.module


@torch.no_grad()
def _follow(averages: list[Tensor], currents: list[Tensor], count: Tensor, decay: float) -> None:
    """Move averages of ``count`` steps towards the weights after the next one."""
    young = float((2 + count) / (11 + count))
    torch._foreach_lerp_(averages, currents, 1.0 - min(decay, young))
