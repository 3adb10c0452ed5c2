"""``treg-exp pairs``: from a configuration to a folder of groups that ``data=ambiguity`` reads."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from treg_exp.ambiguity.measuring import Measured
from treg_exp.ambiguity.search import EVERYTHING, Features, SearchSettings, search
from treg_exp.ambiguity.sheet import sheets
from treg_exp.configuration.building import build
from treg_exp.configuration.folder import config_folder
from treg_exp.configuration.places import errors_at
from treg_exp.configuration.settings import DataSettings, prepared, settings
from treg_exp.data.base import subset
from treg_exp.data.group_manifest import IMAGES, GroupManifest, Rejected, tasks_of
from treg_exp.errors import ConfigError, FileError
from treg_exp.files import write_bytes
from treg_exp.metrics.alignment import TextAlignment
from treg_exp.metrics.base import Metric
from treg_exp.priors.prior import PriorSpec
from treg_exp.signals.base import png
from treg_exp.signals.image import save_png
from treg_exp.sources import build_source, signal_shape
from treg_exp.tasks.base import Task
from treg_exp.tasks.inverse import InverseTask


def pairs(
    overrides: Sequence[str],
    out: Path,
    wanted: SearchSettings,
    encoder: str | None = None,
    reject: Path | None = None,
) -> GroupManifest:
    """Search, and write ``<task>.json``, ``images/`` and ``sheet_<task>_<n>.png``.

    Args:
        overrides: of the configuration, as ``run.py`` takes them: task, data, prior (whose image size counts).
        out: folder to write; those of several tasks may be one.
        wanted: what counts as a group.
        encoder: name of the metric in the configuration whose encoder compares pictures, such as ``judge_alignment``.
        reject: what was taken out by eye, see `read_rejected`.

    Raises:
        ConfigError: a setting that cannot work.
        FileError: a file that cannot be used.
    """
    cfg = prepared(_composed(overrides))
    prior: PriorSpec = build(cfg.prior, "prior", PriorSpec)
    plain: Any = OmegaConf.to_container(cfg)
    with errors_at("prior", plain["prior"]):
        prior.check()
        info = prior.info
    if info.medium != "image":
        raise ConfigError(f"prior: makes {info.medium}, and the search compares images")
    data = settings(DataSettings, cfg.data, "data")
    with errors_at("data", plain["data"]):
        source = subset(build_source(cfg.data, info), data.limit, data.offset)
    task: Task = build(cfg.task, "task", Task)
    with errors_at("", renamed={name: f"--{name}" for name in ("closest", "differs", "features", "reject")}):
        measured = Measured(source, task, signal_shape(plain["data"], info))
        assert isinstance(task, InverseTask)  # or Measured had refused it
        about = task.name, plain["task"]["operator"], task.noise.sigma
        found = search(source, measured, about, wanted, read_rejected(reject, task.name), _features(cfg, encoder))
    _write(found, out, source.ids, measured)
    return found


def read_rejected(file: Path | None, task: str) -> list[Rejected]:
    """What a person has taken out: a CSV with the columns first, second, reason and, if wanted, task.

    ``second`` is a sample id, or ``*`` for a picture that is to be in no group. A row with a task is for that alone.

    Raises:
        FileError: there is no such file, or a row without a picture or a reason.
    """
    if file is None:
        return []
    if not file.is_file():
        raise FileError(f"--reject {file}: no such file")
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream, skipinitialspace=True))
    needed = ("first", "second", "reason")
    for number, row in enumerate(rows, start=2):
        if None in row or not all((row.get(name) or "").strip() for name in needed):
            raise FileError(
                f"{file}, line {number}: needs first, second (a sample id, or {EVERYTHING} for all) and reason"
            )
    own = [row for row in rows if (row.get("task") or "").strip() in ("", task)]
    return [Rejected(*(row[name].strip() for name in needed)) for row in own]


def _composed(overrides: Sequence[str]) -> DictConfig:
    """The configuration; without an experiment of the user's it is the plainest."""
    own = [] if any(word.startswith("experiment=") for word in overrides) else ["experiment=single"]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("config", overrides=[*own, *overrides])
    except HydraException as error:
        raise ConfigError(str(error).strip().splitlines()[0]) from None


def _features(cfg: DictConfig, name: str | None) -> Features | None:
    """Unit vectors of pictures by the encoder of a metric; None where none is wanted."""
    if name is None:
        return None
    if name not in cfg.metrics:
        raise ConfigError(f"--encoder {name}: no such metric; metrics has {', '.join(map(str, cfg.metrics))}")
    metric = build(cfg.metrics[name], f"metrics.{name}", Metric)
    if not isinstance(metric, TextAlignment) or metric.optimised:
        raise ConfigError(f"--encoder {name}: has no encoder of its own; metrics=judge has judge_alignment")

    def features(pictures: Tensor) -> Tensor:
        about: Any = SimpleNamespace(signal=pictures)  # all that an encoder of its own looks at, for the device
        encoder = metric.encoder(about)
        assert encoder is not None
        with torch.no_grad():
            return torch.nn.functional.normalize(encoder.image_features(pictures), dim=-1)

    return features


def _write(found: GroupManifest, out: Path, ids: Sequence[str], measured: Measured) -> None:
    _clear(out, found.task)
    position = {sample_id: i for i, sample_id in enumerate(ids)}
    for member in (member for group in found.groups for member in group.members):
        save_png(measured.picture(position[member.sample_id]), out / IMAGES / f"{member.sample_id}.png")

    def show(sample_id: str) -> tuple[Tensor, Tensor]:
        picture = measured.picture(position[sample_id])
        operator = measured.operator
        return picture, operator.preview(operator.A(picture[None]))[0]

    for number, page in enumerate(sheets(found.groups, found.sigma, show)):
        write_bytes(out / f"sheet_{found.task}_{number}.png", png(page, optimize=True))
    found.write(out)  # last: its presence says that the pictures are there


def _clear(out: Path, task: str) -> None:
    """Delete what an earlier search for the same task has written; pictures that another task's groups have stay."""
    if not (manifest := out / f"{task}.json").is_file():
        return

    def members(name: str) -> set[str]:
        return {member.sample_id for group in GroupManifest.read(out, name).groups for member in group.members}

    others = {sample_id for name in tasks_of(out) if name != task for sample_id in members(name)}
    alone = [out / IMAGES / f"{sample_id}.png" for sample_id in members(task) - others]
    for file in (manifest, *out.glob(f"sheet_{task}_[0-9]*.png"), *alone):
        file.unlink(missing_ok=True)
