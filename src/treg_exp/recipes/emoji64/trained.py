"""What the stages have made so far, or a prior that was exported before: networks to build on and to export."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from treg_exp.configuration.places import one_line
from treg_exp.errors import FieldError
from treg_exp.files import read_json
from treg_exp.priors.folder_files import architecture_of
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.networks import Classifier, TwoTowers, build_autoencoder, build_denoiser
from treg_exp.recipes.emoji64.vocabulary import load_tokenizer, train_tokenizer
from treg_exp.shipped import ASSETS
from treg_exp.training.folder import TrainingFolder

#: Prefixes under which a file may keep the weights of a network, the averaged ones first.
_PREFIXES = ("average.", "network.", "")


@dataclass(frozen=True)
class TrainedStages:
    """The folders of the stages, each as it was last trained.

    Attributes:
        out: holds one folder per stage.
        start_from: folder of an exported prior, or the name of a shipped one. Its weights are the start of whichever
            stage is trained, and stand for those stages that were never trained in ``out``. None to start from nothing.
        denoiser_in: folder in ``out`` of the denoiser to build on and to export: a training may have been annealed in
            a folder beside its own.
    """

    out: str | Path
    start_from: str | Path | None = None
    denoiser_in: str = "unet"

    def folder(self, stage: str) -> TrainingFolder:
        """Where a stage is trained.

        Args:
            stage: ``autoencoder``, ``clip``, ``judge`` or ``unet``.
        """
        return TrainingFolder(Path(self.out) / stage)

    def is_trained(self, stage: str) -> bool:
        """Whether a stage has a checkpoint of its own."""
        return self.folder(stage).checkpoint.is_file()

    @property
    def prior(self) -> Path | None:
        """Folder of the prior to start from."""
        if self.start_from is None:
            return None
        shipped = ASSETS / self.start_from
        return shipped if (shipped / "model_index.json").is_file() else Path(self.start_from)

    def autoencoder(self) -> AutoencoderKL:
        """The averaged autoencoder.

        Raises:
            FileNotFoundError: it was never trained, and there is no prior to start from.
        """
        return self._trained("autoencoder", build_autoencoder, lambda network: {"vae": network})

    def towers(self) -> TwoTowers:
        """Both averaged encoders; see `autoencoder`."""
        towers: TwoTowers = self._trained(
            "clip",
            partial(TwoTowers, self.tokenizer()),
            lambda both: {"text_encoder": both.text_encoder, "image_encoder": both.image_encoder},
        )
        return towers

    def denoiser(self) -> UNet2DConditionModel:
        """The averaged denoiser; see `autoencoder`."""
        return self._trained(self.denoiser_in, build_denoiser, lambda network: {"unet": network})

    def prediction(self) -> str:
        """What the denoiser predicts, as diffusers names it."""
        if self.is_trained(self.denoiser_in):
            return str(self.folder(self.denoiser_in).settings()["objective"]["prediction"])
        return self._prediction_of_prior()

    def judge(self) -> Any:
        """The averaged evaluation model.

        Raises:
            FileNotFoundError: it was never trained.
        """
        network = self._network("judge", Classifier)
        network.load_state_dict(self.folder("judge").averaged())
        return network.judge.eval().requires_grad_(False)

    def tokenizer(self, captions: Iterable[str] = ()) -> Any:
        """The vocabulary in ``clip/tokenizer``; where it is missing, the one to start from, or learnt anew.

        Args:
            captions: what to learn it from; none refuses to.

        Raises:
            FileNotFoundError: there is none, and nothing to learn from.
        """
        folder = self.folder("clip").path / "tokenizer"
        if (folder / "tokenizer.json").is_file():
            return load_tokenizer(folder)
        if self.prior:
            shutil.copytree(self.prior / "tokenizer", folder, dirs_exist_ok=True)
            return load_tokenizer(folder)
        captions = list(captions)
        if not captions:
            raise FileNotFoundError(f"{folder} does not exist: train this stage first")
        return train_tokenizer(captions, folder)

    @torch.no_grad()
    def scaling_factor(self, corpus: Corpus) -> float:
        """One over the standard deviation of the latents of 512 training pictures."""
        vae = self.autoencoder()
        indices = torch.tensor(corpus.split.train)
        indices = indices[:: max(1, len(indices) // 512)]
        latents = torch.cat([vae.encode(corpus.as_float(part)).latent_dist.mean for part in torch.split(indices, 64)])
        return round(1.0 / latents.std().item(), 4)

    def begin(self, parts: Mapping[str, Any], prediction: str | None = None) -> None:
        """Put the weights of the prior to start from, if there is one, into fresh networks.

        Args:
            parts: networks by their folders in an exported prior. One of another class is left as it is.
            prediction: what the denoiser among them will predict.
        """
        if not self.prior:
            return
        for name, network in parts.items():
            if _foreign(self.prior, name, network):
                print(f"{name} is of another architecture than that of {self.prior}: it starts from nothing")
                continue
            if prediction and (kept := self._prediction_of_prior()) != prediction:
                print(f"the denoiser of {self.prior} predicts {kept}: it learns {prediction} anew")
            _take(self.prior, name, network)

    def _trained(self, stage: str, build: Callable[..., Any], parts: Callable[[Any], Mapping[str, nn.Module]]) -> Any:
        network = self._network(stage, build)
        if self.is_trained(stage) or not self.prior:
            weights = self.folder(stage).averaged()
            # A projection that aligned the denoiser's features with others was of use in its training only.
            network.load_state_dict({name: w for name, w in weights.items() if not name.startswith("alignment.")})
            return network.eval().requires_grad_(False)
        found = parts(network)
        if foreign := [name for name, part in found.items() if _foreign(self.prior, name, part)]:
            raise FieldError(
                "start_from", self.prior, f"{', '.join(foreign)}: of another architecture, and "
                f"{self.folder(stage).checkpoint} does not exist: train this stage first"
            )  # fmt: skip
        for name, part in found.items():
            _take(self.prior, name, part)
        return network.eval().requires_grad_(False)

    def _network(self, stage: str, build: Callable[..., Any]) -> Any:
        """The network of a stage as wide as it was trained; with the recipe's widths where it never was."""
        settings = self.folder(stage).settings().get("objective", {}) if self.is_trained(stage) else {}
        names = inspect.signature(build).parameters
        return build(**{name: value for name, value in settings.items() if name in names})

    def _prediction_of_prior(self) -> str:
        if self.prior is None:
            raise FileNotFoundError(
                f"{self.folder(self.denoiser_in).checkpoint} does not exist: train this stage first"
            )
        config = read_json(self.prior / "scheduler" / "scheduler_config.json")
        return str(config.get("prediction_type", "epsilon"))


def weights_in(file: Path) -> dict[str, Tensor]:
    """Weights of a single network: a state dict, a checkpoint of Lightning, or one of an earlier recipe.

    Args:
        file: safetensors, or what ``torch.save`` wrote; of a pickle only tensors and plain values are read.
    """
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        loaded: dict[str, Tensor] = load_file(file)
        return loaded
    state = torch.load(file, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    prefix = next(prefix for prefix in _PREFIXES if any(name.startswith(prefix) for name in state))
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _foreign(prior: Path, name: str, network: nn.Module) -> bool:
    return architecture_of(prior / name) != type(network).__name__


def _take(prior: Path, name: str, network: Any) -> None:
    """Load one part of an exported prior.

    Raises:
        FieldError: it is of the same class, but not of the same widths.
    """
    kept = type(network).from_pretrained(prior / name, use_safetensors=True).state_dict()
    try:
        network.load_state_dict(kept)
    except RuntimeError as error:
        raise FieldError("start_from", prior, f"{name}: {one_line(error)[:300]}") from None
