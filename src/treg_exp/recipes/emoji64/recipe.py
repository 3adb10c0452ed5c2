"""The recipe as a whole: which stage needs what, and the defaults that made the shipped prior."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from treg_exp.files import read_json
from treg_exp.priors.layout import architecture_of
from treg_exp.recipes.emoji64.autoencoder import AutoencoderStage
from treg_exp.recipes.emoji64.captions import caption_variants
from treg_exp.recipes.emoji64.clip import ClipStage
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.fit import checkpoint_file, fit_stage, load_stage
from treg_exp.recipes.emoji64.judge import JudgeStage
from treg_exp.recipes.emoji64.settings import StageSettings
from treg_exp.recipes.emoji64.stage import TrainingStage
from treg_exp.recipes.emoji64.unet import PREDICTION, LatentBank, UnetStage
from treg_exp.recipes.emoji64.vocabulary import load_tokenizer, train_tokenizer

Stage = TypeVar("Stage", bound=TrainingStage)

#: What differs between the stages; minutes are for two CPU cores.
DEFAULTS: dict[str, dict[str, Any]] = {
    "autoencoder": {
        "minutes": 40.0,
        "batch_size": 8,
        "workers": 2,
        "learning_rate": 1.5e-3,
        "matrix_rate": 0.02,
        "warmup_steps": 20,
        "validate_every": 150,
    },
    "clip": {
        "minutes": 75.0,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "matrix_rate": 0.02,
        "warmup_steps": 20,
        "validate_every": 100,
    },
    "judge": {
        "minutes": 80.0,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "matrix_rate": 0.02,
        "warmup_steps": 20,
        "seed": 1,
        "validate_every": 100,
    },
    "unet": {
        "minutes": 240.0,
        "batch_size": 64,
        "workers": 2,
        "part_size": 48,
        "learning_rate": 5e-4,
        "matrix_rate": 0.02,
        "warmup_steps": 40,
        "decay_fraction": 0.45,
        "ema_decay": 0.998,
        "validate_every": 100,
    },
}


@dataclass(frozen=True)
class Recipe:
    """Corpus, output folder and the user's wishes, from which each stage is built.

    Attributes:
        corpus: pictures and split.
        folder: holds one folder per stage.
        wishes: settings that replace the defaults; None means no wish.
        start_from: an exported prior whose weights a stage starts from; None to start from nothing.
    """

    corpus: Corpus
    folder: Path
    wishes: dict[str, Any]
    start_from: Path | None = None

    def settings(self, stage: str) -> StageSettings:
        """Defaults of a stage with the user's wishes on top.

        Args:
            stage: ``autoencoder``, ``clip``, ``judge`` or ``unet``.
        """
        wishes = {name: value for name, value in self.wishes.items() if value is not None}
        if "steps" in wishes:
            wishes.setdefault("minutes", None)  # a step budget alone makes a repeatable run
        return StageSettings(**{"folder": self.folder / stage, "steps": None, **DEFAULTS[stage], **wishes})

    def autoencoder(self) -> AutoencoderStage:
        """Stage 1 before its training."""
        torch.manual_seed(self.settings("autoencoder").seed)
        stage = AutoencoderStage(self.corpus, self.settings("autoencoder"), **self._locks())
        return self._started(stage)

    def clip(self) -> ClipStage:
        """Stage 2 before its training; learns the vocabulary on first use."""
        torch.manual_seed(self.settings("clip").seed)
        stage = ClipStage(self.corpus, self.settings("clip"), self.tokenizer(), **self._locks())
        return self._started(stage)

    def judge(self) -> JudgeStage:
        """The evaluation model before its training; needs nothing of the others and gives them nothing."""
        torch.manual_seed(self.settings("judge").seed)
        return JudgeStage(self.corpus, self.settings("judge"))

    def unet(self) -> UnetStage:
        """Stage 3 before its training, on top of the other two, which must have been trained."""
        vae = self.trained(self.autoencoder()).average
        towers = self.trained(self.clip()).average
        file = self.folder / "unet" / "latents.pt"
        latents = LatentBank.cached(file, vae, self.corpus, self.scaling_factor())
        torch.manual_seed(self.settings("unet").seed)
        stage = UnetStage(self.corpus, self.settings("unet"), latents, towers.text_encoder, self.tokenizer())
        return self._started(stage)

    def tokenizer(self) -> Any:
        """The vocabulary in ``clip/tokenizer``; where it is missing, the one to start from, or learnt anew."""
        folder = self.folder / "clip" / "tokenizer"
        if (folder / "tokenizer.json").is_file():
            return load_tokenizer(folder)
        if self.start_from:
            shutil.copytree(self.start_from / "tokenizer", folder)
            return load_tokenizer(folder)
        return train_tokenizer((c for p in self.corpus.pictures for c in caption_variants(p)), folder)

    @torch.no_grad()
    def scaling_factor(self) -> float:
        """One over the standard deviation of the latents of 512 training pictures."""
        vae = self.trained(self.autoencoder()).average
        indices = torch.tensor(self.corpus.split.train)
        indices = indices[:: max(1, len(indices) // 512)]
        latents = torch.cat(
            [vae.encode(self.corpus.as_float(part)).latent_dist.mean for part in torch.split(indices, 64)]
        )
        return round(1.0 / latents.std().item(), 4)

    def trained(self, stage: Stage) -> Stage:
        """A stage with its trained weights, or those of `start_from` where it was never trained in this folder.

        Args:
            stage: as this recipe has just built it.

        Raises:
            FileNotFoundError: there are neither.
            ValueError: `start_from` has other networks than this recipe.
        """
        if self.start_from and not checkpoint_file(stage.settings.folder).is_file():
            if foreign := self._foreign(stage):
                raise ValueError(
                    f"{', '.join(foreign)}: of another architecture in {self.start_from}, and "
                    f"{checkpoint_file(stage.settings.folder)} does not exist: train this stage first"
                )
            return stage
        load_stage(stage)
        return stage

    def _locks(self) -> dict[str, Any]:
        """What the denoiser of `start_from` has learnt to read stays: latents and text; their other halves improve."""
        return {"locked_from": 0.0} if self.start_from else {}

    @staticmethod
    def _parts(stage: TrainingStage) -> dict[str, Any]:
        """The networks of a stage by their folders in an exported prior."""
        network = stage.network
        if isinstance(stage, ClipStage):
            return {"text_encoder": network.text_encoder, "image_encoder": network.image_encoder}
        return {"unet" if isinstance(stage, UnetStage) else "vae": network}

    def _foreign(self, stage: TrainingStage) -> list[str]:
        """The parts of a stage that have another architecture in `start_from`."""
        assert self.start_from
        kept = {name: architecture_of(self.start_from / name) for name in self._parts(stage)}
        return [name for name, network in self._parts(stage).items() if type(network).__name__ != kept[name]]

    def _started(self, stage: Stage) -> Stage:
        """Put the weights of `start_from` into a stage that has no checkpoint of its own yet."""
        if self.start_from and not checkpoint_file(stage.settings.folder).is_file():
            foreign = self._foreign(stage)
            for name, network in self._parts(stage).items():
                if name in foreign:
                    print(f"{name} is of another architecture than that of {self.start_from}: it starts from nothing")
                    continue
                if name == "unet" and (conflict := self.prediction_conflict()):
                    print(f"{conflict}: it learns that anew")
                network.load_state_dict(type(network).from_pretrained(self.start_from / name).state_dict())
            stage.average.load_state_dict(stage.network.state_dict())
        return stage

    def prediction_conflict(self) -> str:
        """In words, that the denoiser of `start_from` predicts something else than this recipe's; else empty."""
        assert self.start_from
        kept = read_json(self.start_from / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
        return "" if kept == PREDICTION else f"the denoiser of {self.start_from} predicts {kept}, not {PREDICTION}"

    def train(self, stage: str) -> None:
        """Run or continue one stage to the end of its budget.

        Args:
            stage: ``autoencoder``, ``clip``, ``judge`` or ``unet``.
        """
        builders: dict[str, Callable[[], Any]] = {
            "autoencoder": self.autoencoder,
            "clip": self.clip,
            "judge": self.judge,
            "unet": self.unet,
        }
        if stage not in builders:
            raise ValueError(f"stage={stage}: allowed are {', '.join(builders)}")
        fit_stage(builders[stage]())
