"""The recipe as a whole: which stage needs what, and the defaults that made the shipped prior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from treg_exp.training.autoencoder import AutoencoderStage
from treg_exp.training.captions import caption_variants
from treg_exp.training.clip import ClipStage
from treg_exp.training.corpus import Corpus
from treg_exp.training.fit import fit_stage, load_stage
from treg_exp.training.settings import StageSettings
from treg_exp.training.unet import LatentBank, UnetStage
from treg_exp.training.vocabulary import load_tokenizer, train_tokenizer

#: What differs between the stages; minutes are for two CPU cores.
DEFAULTS: dict[str, dict[str, Any]] = {
    "autoencoder": {
        "minutes": 18.0,
        "batch_size": 8,
        "workers": 2,
        "learning_rate": 1.5e-3,
        "matrix_rate": 0.02,
        "warmup_steps": 20,
        "validate_every": 150,
    },
    "clip": {
        "minutes": 9.0,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "matrix_rate": 0.02,
        "warmup_steps": 20,
        "validate_every": 100,
    },
    "unet": {
        "minutes": 65.0,
        "batch_size": 24,
        "workers": 2,
        "learning_rate": 5e-4,
        "matrix_rate": 0.02,
        "ema_decay": 0.998,
        "validate_every": 200,
    },
}


@dataclass(frozen=True)
class Recipe:
    """Corpus, output folder and the user's wishes, from which each stage is built.

    Attributes:
        corpus: pictures and split.
        folder: holds one folder per stage.
        wishes: settings that replace the defaults; None means no wish.
    """

    corpus: Corpus
    folder: Path
    wishes: dict[str, Any]

    def settings(self, stage: str) -> StageSettings:
        """Defaults of a stage with the user's wishes on top.

        Args:
            stage: ``autoencoder``, ``clip`` or ``unet``.
        """
        wishes = {name: value for name, value in self.wishes.items() if value is not None}
        if "steps" in wishes:
            wishes.setdefault("minutes", None)  # a step budget alone makes a repeatable run
        return StageSettings(**{"folder": self.folder / stage, "steps": None, **DEFAULTS[stage], **wishes})

    def autoencoder(self) -> AutoencoderStage:
        """Stage 1, untrained."""
        torch.manual_seed(self.settings("autoencoder").seed)
        return AutoencoderStage(self.corpus, self.settings("autoencoder"))

    def clip(self) -> ClipStage:
        """Stage 2, untrained; learns the vocabulary on first use."""
        torch.manual_seed(self.settings("clip").seed)
        return ClipStage(self.corpus, self.settings("clip"), self.tokenizer())

    def unet(self) -> UnetStage:
        """Stage 3, untrained, on top of the other two, which must have been trained."""
        vae = load_stage(self.autoencoder()).average
        towers = load_stage(self.clip()).average
        latents = LatentBank.encode(vae, self.corpus, self.scaling_factor())
        torch.manual_seed(self.settings("unet").seed)
        return UnetStage(self.corpus, self.settings("unet"), latents, towers.text_encoder, self.tokenizer())

    def tokenizer(self) -> Any:
        """The vocabulary in ``clip/tokenizer``; learnt from all captions where it is missing."""
        folder = self.folder / "clip" / "tokenizer"
        if (folder / "tokenizer.json").is_file():
            return load_tokenizer(folder)
        return train_tokenizer((c for p in self.corpus.pictures for c in caption_variants(p)), folder)

    @torch.no_grad()
    def scaling_factor(self) -> float:
        """One over the standard deviation of the latents of 512 training pictures."""
        vae = load_stage(self.autoencoder()).average
        indices = torch.tensor(self.corpus.split.train)
        indices = indices[:: max(1, len(indices) // 512)]
        latents = torch.cat(
            [vae.encode(self.corpus.as_float(part)).latent_dist.mean for part in torch.split(indices, 64)]
        )
        return round(1.0 / latents.std().item(), 4)

    def train(self, stage: str) -> None:
        """Run or continue one stage to the end of its budget.

        Args:
            stage: ``autoencoder``, ``clip`` or ``unet``.
        """
        builders: dict[str, Callable[[], Any]] = {
            "autoencoder": self.autoencoder,
            "clip": self.clip,
            "unet": self.unet,
        }
        if stage not in builders:
            raise ValueError(f"stage={stage}: allowed are {', '.join(builders)}")
        fit_stage(builders[stage]())
