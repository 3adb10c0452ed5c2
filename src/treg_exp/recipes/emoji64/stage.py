"""What the three stages have in common: keyed randomness, learning-rate schedule, averaged weights, budget."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from treg_exp.noise import generator as keyed_generator
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.ema import averaged_copy, update_average
from treg_exp.recipes.emoji64.muon import MuonAdam
from treg_exp.recipes.emoji64.settings import StageSettings


class TrainingStage(L.LightningModule, ABC):
    """Base of the stages: a subclass names its network, its loss and its validation figures.

    A stage that learns what things look like in any style sets `any_style` and sees the further drawings, too.

    Batches are not handed in by a loader but drawn in `loss` from a generator that is keyed by the step. That
    makes a continued training draw exactly what an unbroken one draws, without any loader state.
    """

    # Networks of diffusers and transformers carry no types.
    network: Any
    average: Any
    any_style = False

    def __init__(self, network: nn.Module, corpus: Corpus, settings: StageSettings) -> None:
        super().__init__()
        self.network = network
        self.average = averaged_copy(self.network)
        self.corpus = corpus
        self.settings = settings
        self.train_indices = torch.tensor(corpus.split.train + (corpus.split.further if self.any_style else ()))
        self.held_out_indices = torch.tensor(corpus.split.held_out)
        self.automatic_optimization = False
        self._pool = single_threaded_pool(settings.workers)
        self._elapsed_before = 0.0
        self._started = time.monotonic()

    @abstractmethod
    def loss(self, generator: torch.Generator, count: int) -> Tensor:
        """Draw pictures and return their mean loss, a scalar.

        Args:
            generator: CPU source of everything random in this step.
            count: how many pictures to draw.
        """

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """Figures of the averaged network on held-out pictures."""

    @property
    def elapsed_s(self) -> float:
        """Seconds trained over all continuations."""
        return self._elapsed_before + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """Share of the budget that is used up."""
        return self.settings.progress(self.global_step, self.elapsed_s)

    def lock(self, *parts: str) -> None:
        """Take averaged parts of the network and train them no further; called again, it does nothing.

        Args:
            parts: names of sub-networks.
        """
        for part in parts:
            network = getattr(self.network, part)
            if next(network.parameters()).requires_grad:
                network.load_state_dict(getattr(self.average, part).state_dict())
                network.requires_grad_(False)

    def draw_indices(self, generator: torch.Generator, count: int) -> Tensor:
        """Positions of random training pictures, (count,) int64."""
        return self.train_indices[torch.randint(len(self.train_indices), (count,), generator=generator)]

    def train_dataloader(self) -> DataLoader[int]:
        """An endless loader of nothing; see the class docstring."""
        return DataLoader(_Endless(), batch_size=None)

    def val_dataloader(self) -> DataLoader[int]:
        """One item: `figures` measures all at once."""
        return DataLoader([0], batch_size=None)  # type: ignore[arg-type]

    def suits_muon(self, name: str, parameter: nn.Parameter) -> bool:
        """Whether a parameter mixes hidden features; kernels of single channels do not.

        Args:
            name: dotted name of the parameter within the network.
            parameter: the parameter itself.
        """
        outer = ("conv_in.", "conv_out.", "embedding", "quant_conv.")
        return parameter.ndim > 1 and parameter.shape[1] > 1 and not any(part in name for part in outer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Muon on hidden matrices if the settings say so, Adam on the rest."""
        named = list(self.network.named_parameters())
        use_muon = self.settings.matrix_rate is not None
        hidden = {name for name, parameter in named if use_muon and self.suits_muon(name, parameter)}
        return MuonAdam(
            matrices=[p for name, p in named if name in hidden],
            others=[p for name, p in named if name not in hidden],
            matrix_rate=self.settings.matrix_rate or 0.0,
            rate=self.settings.learning_rate,
            pool=self._pool if self.settings.workers > 1 else None,
        )

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One step on pictures drawn with the step's own generators, part by part."""
        settings, optimizer = self.settings, self.optimizers()
        optimizer.zero_grad()
        step, context, parts = self.global_step, self.trainer.precision_plugin.forward_context, settings.parts

        def work(worker: int) -> Tensor:
            losses = []
            for part in range(worker, parts, settings.workers):
                with context():  # autocast holds for one thread only
                    loss = self.loss(keyed_generator(settings.seed, "train", step, part), settings.batch_size // parts)
                torch.autograd.backward(loss / parts)
                losses.append(loss.detach())
            return torch.stack(losses).mean()

        workers = range(settings.workers)
        losses = [work(0)] if settings.workers == 1 else list(self._pool.map(work, workers))
        self.clip_gradients(optimizer, gradient_clip_val=1.0)
        optimizer.step()
        self.log("train_loss", torch.stack(losses).mean(), batch_size=self.settings.batch_size)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the figures of the averaged network."""
        self.log_dict(self.figures(), batch_size=1)

    def on_train_start(self) -> None:
        """Start the clock when work starts, not when the module is built."""
        if self.settings.workers > 1:
            torch.set_num_threads(1)  # the workers are the parallelism
        self._started = time.monotonic()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate from the used part of the budget."""
        factor = self.settings.rate_factor(self.global_step, self.elapsed_s)
        for group in self.trainer.optimizers[0].param_groups:
            peak = (self.settings.matrix_rate or 0.0) if group["orthogonal"] else self.settings.learning_rate
            group["lr"] = peak * factor

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the average and end the stage when its budget is used up."""
        update_average(self.average, self.network, self.global_step, self.settings.ema_decay)
        if self.progress >= 1.0:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the clock: it is part of the schedule."""
        checkpoint["elapsed_s"] = self.elapsed_s

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the clock."""
        self._elapsed_before = float(checkpoint["elapsed_s"])


def single_threaded_pool(workers: int) -> ThreadPoolExecutor:
    """Threads that each run torch on one core.

    Splitting a batch between threads is as fast as splitting every operator, and stays so on a machine that
    other processes use as well: threads then wait for each other once per step instead of once per operator.

    Args:
        workers: how many.
    """
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


@torch.no_grad()
def silence_residual_branches(network: nn.Module) -> None:
    """Start every residual block of a diffusers network as the identity.

    A network that is shallow at first learns the coarse things within tens of steps instead of hundreds.

    Args:
        network: changed in place.
    """
    for name, module in network.named_modules():
        if name.endswith((".conv2", ".to_out.0", ".proj_out")):
            for parameter in module.parameters():
                parameter.zero_()


class _Endless(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        while True:
            yield 0
