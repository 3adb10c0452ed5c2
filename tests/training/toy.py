"""The smallest training that has everything: random losses, a part of the batch per thread, an average."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from treg_exp.training.data import KeyedBatches
from treg_exp.training.fit import fit
from treg_exp.training.folder import TrainingFolder
from treg_exp.training.objective import Objective

COUNT = 64


class Numbers(KeyedBatches):
    """Points on a line, (B, 1)."""

    def __init__(self, batch_size: int, seed: int = 0) -> None:
        super().__init__(torch.linspace(-1.0, 1.0, COUNT).view(-1, 1), batch_size, seed)


class Line(Objective):
    """Fit y = 3 x - 1 with noise on y."""

    def __init__(self, width: int = 8, kind: str = "line") -> None:
        self.network = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
        self.kind = kind
        self.seen: list[float] = []

    def loss(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        noise = 0.1 * torch.randn(batch.shape, generator=generator)
        return (self.network(batch) - (3.0 * batch - 1.0 + noise)).square().mean()

    def figures(self) -> dict[str, float]:
        x = torch.linspace(-1.0, 1.0, COUNT).view(-1, 1)
        return {"error": (self.network(x) - (3.0 * x - 1.0)).square().mean().item()}

    def advance(self, progress: float, average: nn.Module) -> None:
        self.seen.append(progress)

    def meaning(self) -> Mapping[str, str]:
        return {"kind": self.kind}


def configured(folder: Path, **values: Any) -> Any:
    """The configuration of a toy training; ``values`` by dotted keys of the recipe, with __ for the dots."""
    recipe = OmegaConf.create({
        "seed": 0,
        "objective": {"_target_": "tests.training.toy.Line"},
        "data": {"_target_": "tests.training.toy.Numbers", "batch_size": 8},
        "budget": {"_target_": "treg_exp.training.budget.Budget", "minutes": None, "steps": 12},
        "optimizer": {"_target_": "treg_exp.training.muon.MuonAdam", "_partial_": True, "rate": 0.02},
        "schedule": {"_target_": "treg_exp.training.budget.Schedule", "warmup_steps": 3},
        "sharing": {"_target_": "treg_exp.training.sharing.Sharing", "batch_size": "${recipe.data.batch_size}"},
        "checkpoint": {"_target_": "treg_exp.training.checkpoint.LastCheckpoint"},
        "callbacks": {"average": {"_target_": "treg_exp.training.average.MovingAverage", "decay": 0.8}},
        "loggers": {"csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "name": "metrics"}},
        "trainer": {
            "accelerator": "cpu", "precision": "fp32", "gradient_clip_val": 1.0, "val_check_interval": 4,
            "check_val_every_n_epoch": None, "num_sanity_val_steps": 0, "log_every_n_steps": 2,
            "enable_progress_bar": False, "enable_model_summary": False,
        },
    })  # fmt: skip
    for name, value in values.items():
        OmegaConf.update(recipe, name.replace("__", "."), value, force_add=True)
    return OmegaConf.create({"recipe": recipe, "run_dir": str(folder), "dry_run": False, "mode": "fit"})


def train(folder: Path, **values: Any) -> TrainingFolder:
    """Train the toy in a folder."""
    fit(configured(folder, **values))
    return TrainingFolder(folder)


def state_of(folder: TrainingFolder) -> dict[str, Any]:
    """What the checkpoint holds."""
    return torch.load(folder.checkpoint, weights_only=True)
