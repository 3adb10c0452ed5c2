"""The one LightningModule that trains every objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from treg_exp.errors import FieldError
from treg_exp.noise import stream_seed
from treg_exp.training.average import MovingAverage
from treg_exp.training.budget import Budget, Schedule
from treg_exp.training.folder import MEANING, meaning_in
from treg_exp.training.objective import Objective
from treg_exp.training.sharing import Sharing, single_threaded_pool


class TrainingModule(L.LightningModule):
    """Optimises an objective; checkpoints, averaging, clipping and the end are Lightning's.

    Args:
        objective: network, loss and figures.
        optimizer: makes the optimiser, called with ``params=`` the groups of the objective.
        budget: when training ends; one of the trainer's callbacks as well, so that it keeps the time.
        schedule: of the learning rates.
        sharing: of a batch between threads.
        seed: of everything random in the losses.
    """

    def __init__(
        self,
        objective: Objective,
        optimizer: Callable[..., torch.optim.Optimizer],
        budget: Budget,
        schedule: Schedule,
        sharing: Sharing,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.network = objective.network
        self.objective, self.make_optimizer = objective, optimizer
        self.budget, self.schedule, self.sharing, self.seed = budget, schedule, sharing, seed
        self._first_states: dict[str, Any] | None = None  # of the optimiser, from another training
        self._pool: Any = None  # of threads: made when training starts, since a pool cannot be copied
        self._threads = torch.get_num_threads()

    def configure_optimizers(self) -> Any:
        """The optimiser, and a schedule that knows both budgets."""
        optimizer = self.make_optimizer(params=self.objective.parameter_groups())

        def factor(step: int) -> float:
            return self.schedule.factor(step, self.budget.progress(step))

        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"},
        }

    def begin_from(self, checkpoint: Mapping[str, Any]) -> None:
        """Start with the raw weights and the optimiser's state of another training, but at step 0.

        Rates, budget and average are this training's own.

        Args:
            checkpoint: of a training of the same network.

        Raises:
            FieldError: its weights mean something else.
            FileError: another program, or another version of this one, has written it.
            RuntimeError: it is of another network.
        """
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint.get("current_model_state", checkpoint["state_dict"]))
        self._first_states = checkpoint["optimizer_states"][0]["state"]

    def on_train_start(self) -> None:
        """Start the threads."""
        if self._first_states is not None:
            optimizer: Any = self.optimizers(use_pl_optimizer=False)
            own = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": self._first_states, "param_groups": own})
            self._first_states = None
        if self.sharing.workers > 1:
            torch.set_num_threads(1)  # the workers are the parallelism
            self._pool = single_threaded_pool(self.sharing.workers)
        self.objective.prepare(str(self.trainer.precision))

    def on_train_end(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
            torch.set_num_threads(self._threads)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        self.objective.advance(self.budget.progress(self.global_step), self._average())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Losses and gradients of all parts of a batch, each part with a generator of its own.

        Returns:
            The mean loss, without a graph: each thread goes back through its own.
        """
        self.optimizers(use_pl_optimizer=False).zero_grad()
        sharing, step, context = self.sharing, self.global_step, self.trainer.precision_plugin.forward_context

        def work(worker: int) -> Tensor:
            losses = []
            for number in range(worker, sharing.parts, sharing.workers):
                generator = self._generator(step, number)
                with context():  # autocast holds for one thread only
                    loss = self.objective.loss(sharing.part(batch, number), generator)
                torch.autograd.backward(loss / sharing.parts)
                losses.append(loss.detach())
            return torch.stack(losses).mean()

        losses = [work(0)] if self._pool is None else list(self._pool.map(work, range(sharing.workers)))
        loss = torch.stack(losses).mean()
        self.log("train_loss", loss, batch_size=sharing.batch_size)
        return loss

    def optimizer_zero_grad(self, *arguments: Any) -> None:
        """Nothing: Lightning does this after `training_step`, which has the gradients already."""

    def backward(self, loss: Tensor, *arguments: Any, **settings: Any) -> None:
        """Nothing, for the same reason."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the figures of the averaged network and the minutes that it took."""
        figures = self.objective.figures()
        # Lightning's own count is one behind at this moment; a logged "step" replaces it.
        when = {"minutes": self.budget.time_elapsed() / 60.0, "step": float(self.global_step)}
        self.log_dict({**figures, **when}, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Say what was measured."""
        values = {name: float(value) for name, value in sorted(self.trainer.callback_metrics.items())}
        print(
            "  ".join(f"{name} {value:.6g}" for name, value in {"step": self.global_step, **values}.items()), flush=True
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights mean with them."""
        checkpoint[MEANING] = dict(self.objective.meaning())

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse weights that mean something else.

        Raises:
            FieldError: the objective has changed since.
            FileError: another program, or another version of this one, has written it.
        """
        kept = meaning_in(checkpoint)
        for name, value in self.objective.meaning().items():
            if kept.get(name) != value:
                raise FieldError(
                    name, value, f"the checkpoint was trained with {kept.get(name)}; start in another folder"
                )

    def _generator(self, step: int, part: int) -> torch.Generator:
        device = self.objective.device if self.objective.draws_on_device else torch.device("cpu")
        return torch.Generator(device).manual_seed(stream_seed(self.seed, "train", step, part))

    def _average(self) -> nn.Module:
        averages = [callback for callback in self.trainer.callbacks if isinstance(callback, MovingAverage)]
        average: nn.Module = averages[0].module.network if averages else self.network
        return average
