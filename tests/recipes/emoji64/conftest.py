"""The 200 packaged pictures as a small corpus, and the whole recipe on 24 things in three styles.

Each thing of the miniature is held out in one style and trained on in the other two, as in the real corpus.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from tests.conftest import DATA
from treg_exp.configuration.building import build
from treg_exp.recipes.emoji64.command import recipe_config
from treg_exp.recipes.emoji64.corpus import Corpus, CorpusFolder
from treg_exp.recipes.emoji64.export import export
from treg_exp.recipes.emoji64.sources import Picture
from treg_exp.recipes.emoji64.split import Split
from treg_exp.recipes.emoji64.trained import TrainedStages
from treg_exp.training.fit import fit
from treg_exp.training.objective import Objective

NAMES = (
    "red apple", "green apple", "banana", "strawberry", "blue heart", "green heart", "yellow heart", "purple heart",
    "black heart", "eggplant", "carrot", "four leaf clover", "full moon", "octopus", "pig face", "crab", "maple leaf",
    "tomato", "grapes", "penguin", "fire", "droplet", "cactus", "tangerine",
)  # fmt: skip
ROWS = ("noto", "twemoji", "fluent")
#: What makes the recipe a miniature, by keys of a recipe.
SMALL = {
    "corpus.held_out": len(NAMES), "corpus.test": len(NAMES), "trainer.accelerator": "cpu", "trainer.precision": "fp32",
    "budget.minutes": None, "callbacks.average.decay": 0.95,
}  # fmt: skip
#: Steps, pictures per step.
BUDGETS = {"autoencoder": (45, 8), "clip": (60, 48), "judge": (45, 48), "unet": (45, 8)}


@dataclass(frozen=True)
class Miniature:
    """Where the pictures are, and the folder of a training."""

    data_dir: Path
    out: Path
    start_from: Path | None = None

    @property
    def stages(self) -> TrainedStages:
        return TrainedStages(self.out, self.start_from)

    @property
    def corpus(self) -> Corpus:
        return CorpusFolder(self.data_dir, len(NAMES), len(NAMES)).load()

    def config(self, stage: str, **values: Any) -> DictConfig:
        """What Hydra composes, with ``values`` by dotted keys of the recipe."""
        cfg = recipe_config(stage, out=self.out, data_dir=self.data_dir, start_from=self.start_from)
        steps, batch = BUDGETS.get(stage.split("_")[0], BUDGETS["unet"])  # the other trainings are of the denoiser
        given = {
            "budget.steps": steps,
            "data.batch_size": batch,
            "trainer.val_check_interval": steps,
            **SMALL,
            **values,
        }
        for key, value in given.items():
            OmegaConf.update(cfg, f"recipe.{key}", value)
        return cfg

    def train(self, stage: str, **values: Any) -> None:
        fit(self.config(stage, **values))

    def objective(self, stage: str, trained: bool = False, **values: Any) -> Any:
        """Network and loss before the training, or with its averaged weights."""
        cfg = self.config(stage, **{"seed": 0, **values})
        torch.manual_seed(0)
        made = build(cfg.recipe.objective, "recipe.objective", Objective)
        made.prepare("32-true")
        if trained:
            made.network.load_state_dict(self.stages.folder(stage).averaged())
        return made


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    folder = Path(str(files("treg_exp") / "assets" / "emoji_test"))
    with (folder / "captions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    images = np.stack([np.asarray(Image.open(folder / "images" / f"{row['sample_id']}.png")) for row in rows])
    pictures = tuple(Picture(row["sample_id"], row["name"], (), row["style"], row["category"], "", "") for row in rows)
    split = Split(train=tuple(range(160)), held_out=tuple(range(160, 200)), test=tuple(range(160, 180)))
    return Corpus(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), pictures, split)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the miniature's pictures, as `CorpusFolder` reads it."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(DATA / "miniature" / "sheet.png") as file:
        sheet = np.asarray(file.convert("RGB")).reshape(len(ROWS), 64, len(NAMES), 64, 3)
    pictures = [Picture(f"{n}-{s}".replace(" ", "_"), n, (), s, "things", "", "") for s in ROWS for n in NAMES]
    np.savez_compressed(folder / "pictures.npz", images=sheet.transpose(0, 2, 1, 3, 4).reshape(-1, 64, 64, 3))
    (folder / "pictures.json").write_text(json.dumps([asdict(picture) for picture in pictures]))
    return folder


@pytest.fixture(scope="session")
def trained(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Miniature:
    """All four stages, trained once for all processes of pytest-xdist; nobody may train further in its folder."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    miniature, done = Miniature(data_dir, shared / "trained"), shared / "trained.done"
    with FileLock(shared / "trained.lock"):
        if not done.exists():
            for stage in BUDGETS:
                miniature.train(stage)
            done.touch()
    return miniature


@pytest.fixture(scope="session")
def prior(trained: Miniature, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported prior, with the judge beside it; only to be read."""
    return export(trained.corpus, trained.stages, tmp_path_factory.mktemp("export") / "prior", figures=False)


@pytest.fixture
def fresh(data_dir: Path, tmp_path: Path) -> Callable[..., Miniature]:
    """A miniature in a folder of its own, where nothing is trained."""
    return lambda name="train", start_from=None: Miniature(data_dir, tmp_path / name, start_from)
