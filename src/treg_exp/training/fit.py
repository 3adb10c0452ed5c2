"""``mode=fit``: from a composed configuration to a finished training, also over any number of interruptions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.building import build, check_values
from treg_exp.configuration.identity import run_dir
from treg_exp.configuration.keys import check_recipe
from treg_exp.configuration.places import errors_at, one_line
from treg_exp.configuration.settings import check_complete, prepared
from treg_exp.errors import ConfigError, FieldError, FileError
from treg_exp.silence import silence_lightning
from treg_exp.training.folder import TrainingFolder


def fit(cfg: DictConfig) -> None:
    """Train what ``cfg.recipe`` describes to the end of its budget, from its checkpoint where there is one.

    Args:
        cfg: the composed configuration; ``run_dir`` is the folder of the training.

    Raises:
        ConfigError: a setting that cannot work.
    """
    check_complete(cfg)
    if "recipe" not in cfg or not cfg.get("run_dir"):
        raise ConfigError("mode=fit trains a recipe in a folder: choose both, as in recipe=emoji64/unet run_dir=DIR")
    check_recipe(cfg.recipe)
    cfg = prepared(cfg)
    folder = TrainingFolder(run_dir(cfg))
    start = folder.checkpoint if folder.checkpoint.is_file() else None
    if cfg.dry_run:
        print(f"run_dir: {folder.path}, {'continued from its checkpoint' if start else 'nothing there yet'}")
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # notes about its own defaults
        trainer, module, data = _build(cfg.recipe, folder)
        if start is None and cfg.recipe.get("begin_from"):
            _begin(module, Path(cfg.recipe.begin_from))
    folder.path.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except FieldError as error:
            with errors_at("recipe.objective", OmegaConf.to_container(cfg.recipe.objective)):
                raise error
        except FileError as error:
            raise ConfigError(f"{folder.path}: {error}") from None
        except SystemExit as error:  # Lightning turns Ctrl-C and SIGTERM into an exit
            raise KeyboardInterrupt from error


def _build(recipe: DictConfig, folder: TrainingFolder) -> tuple[Any, Any, Any]:
    """Trainer, module and data module."""
    import lightning as L
    from lightning.fabric.plugins.environments import LightningEnvironment
    from lightning.pytorch.callbacks import LambdaCallback
    from lightning.pytorch.loggers import Logger

    from treg_exp.training.budget import Budget, Schedule
    from treg_exp.training.checkpoint import LastCheckpoint, WholeFiles
    from treg_exp.training.module import TrainingModule
    from treg_exp.training.objective import Objective
    from treg_exp.training.sharing import Sharing

    silence_lightning()
    # First what is quick to check: an objective may read or fetch its corpus.
    budget = build(recipe.budget, "recipe.budget", Budget)
    optimizer = build(recipe.optimizer, "recipe.optimizer", Callable[..., torch.optim.Optimizer])
    schedule = build(recipe.schedule, "recipe.schedule", Schedule)
    sharing = build(recipe.sharing, "recipe.sharing", Sharing)
    named = recipe.get("callbacks", {}).items()
    callbacks = [build(node, f"recipe.callbacks.{name}", L.Callback) for name, node in named]
    path, kept = str(folder.path), OmegaConf.to_container(recipe)
    callbacks += [
        budget,
        # A finished training keeps the settings that it was trained with: it does not start again.
        LambdaCallback(on_train_start=lambda *_: folder.keep(kept)),  # type: ignore[arg-type]
        build(recipe.checkpoint, "recipe.checkpoint", LastCheckpoint, dirpath=path),
    ]
    named = recipe.get("loggers", {}).items()
    loggers = [build(node, f"recipe.loggers.{name}", Logger, save_dir=path) for name, node in named]
    trainer = _trainer(
        recipe.trainer, max_steps=budget.steps or -1, callbacks=callbacks, logger=loggers or False,
        plugins=[WholeFiles(), LightningEnvironment()],  # in a Slurm job Lightning would requeue it by itself
    )  # fmt: skip
    torch.manual_seed(recipe.seed)  # of the first weights
    objective = build(recipe.objective, "recipe.objective", Objective)
    module = TrainingModule(objective, optimizer, budget, schedule, sharing, recipe.seed)
    data = build(recipe.data, "recipe.data", L.LightningDataModule)
    return trainer, module, data


def _begin(module: Any, file: Path) -> None:
    """Put what another training has reached into a module.

    Raises:
        ConfigError: the file is not there, or not of a training of this network.
    """
    place = f"recipe.begin_from={file}"
    if not file.is_file():
        raise ConfigError(f"{place}: no such file")
    try:
        module.begin_from(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, KeyError) as error:
        raise ConfigError(f"{place}: {one_line(error)[:300]}") from None


def _trainer(settings: DictConfig, **further: Any) -> Any:
    """A Lightning trainer with one endless epoch.

    Raises:
        ConfigError: this machine does not have such devices, or a value that the trainer refuses.
    """
    import lightning as L
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    values: dict[str, Any] = OmegaConf.to_container(settings)  # type: ignore[assignment]
    values["precision"] = _precision(str(values.get("precision", "auto")), str(values.get("accelerator", "auto")))
    check_values(L.Trainer, values, "recipe.trainer", (*further,))
    with errors_at("recipe.trainer"):
        if values.get("devices", 1) != 1:
            raise FieldError("devices", values["devices"], "must be 1: every process would draw the same batches")
        try:
            return L.Trainer(max_epochs=-1, **values, **further)
        except MisconfigurationException as error:
            raise ValueError(str(error)) from None


def _precision(precision: str, accelerator: str) -> str:
    """Lightning's name of a number format.

    ``auto`` asks whether the device is fast in bfloat16: without support of the hardware it is ten times slower than
    float32 on a CPU.
    """
    from treg_exp.priors.precision import has_fast_bf16

    if precision == "auto":
        gpu = accelerator != "cpu" and torch.cuda.is_available()
        precision = "bf16" if has_fast_bf16(torch.device("cuda" if gpu else "cpu")) else "fp32"
    return {"bf16": "bf16-mixed", "fp32": "32-true"}.get(precision, precision)
