"""A prior in a folder in diffusers layout: the shipped one, Stable Diffusion, or a user's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch

from treg_exp.errors import FieldError, FileError
from treg_exp.priors.checked_json import is_number, is_whole
from treg_exp.priors.families.base import Family, Options
from treg_exp.priors.families.image_tower import check_same_text, tower_home, tower_network
from treg_exp.priors.folder import complete_folder, complete_tower, family_of
from treg_exp.priors.folder_files import INDEX, configuration_files, weight_files
from treg_exp.priors.info import PriorInfo
from treg_exp.priors.named import prior_path
from treg_exp.priors.network_check import check_network
from treg_exp.priors.precision import check_precision, number_format
from treg_exp.priors.prior import Prior
from treg_exp.priors.tokenizers import check_tokenizers
from treg_exp.stamps import Stamp, stamps_of

MOST_T5_TOKENS = 512  # as in the pipelines of diffusers: the encoders were trained on no longer texts


@dataclass(frozen=True)
class DiffusersFolder(Options):
    """A ``PriorSpec``. What kind of prior it is, the folder says itself.

    Only safetensors are read, never pickles; where there are only float16 weights, these.

    Attributes:
        path: a folder in diffusers layout, or a name (``emoji64``, ``tiny_random``), see ``prior_path``.
        precision: ``auto`` (bf16 where it is faster), ``fp32``, ``bf16`` or ``fp16``, of the networks.
        image_encoder: load ``image_encoder/`` where there is one (text alignment and adaptive negation need it), or
            that of another prior with the same text encoder: its name or folder.
        open_clip: an open_clip model to use instead of it.
        timestep_spacing: which timesteps a sampler visits, see ``VariancePreserving``; None: what the folder says.
        embedded_guidance: scale that a distilled model is told with its timestep; None is the default of diffusers'
            pipeline: 8.5 for latent consistency models, 3.5 for Flux. Without effect on others.
        t5_tokens: tokens of a text for T5, which is padded or cut; None is the default of diffusers' pipeline: 256 for
            Stable Diffusion 3, 512 for Flux. Without effect on others.
        vae_slicing: the autoencoder takes one image of a batch after the other.
        vae_tiling: it takes an image in overlapping tiles, half as high and wide as the images that it was trained on,
            which need less memory and differ a little at their seams.
        gradient_checkpointing: steps that take gradients through the networks compute activations twice instead of
            keeping them.
        not_identity: fields that change no restoration.
    """

    not_identity: ClassVar[tuple[str, ...]] = ("vae_slicing", "gradient_checkpointing")
    path: str = "emoji64"

    @property
    def name(self) -> str:
        """Last part of the path."""
        return Path(self.path).name

    @cached_property
    def folder(self) -> Path:
        """Where the files are.

        Raises:
            FieldError: there is no such folder.
        """
        return prior_path(self.path)

    @cached_property
    def family(self) -> Family:
        """What kind of prior is in the folder.

        Raises:
            FieldError: none that is supported.
        """
        return family_of(self.folder, self.path)

    @cached_property
    def info(self) -> PriorInfo:
        """See ``PriorSpec``."""
        return self.family.read_info(self.folder, self)

    def check(self) -> None:
        """See ``PriorSpec``. What has passed is not checked again in this process, while its files stay the same."""
        if not _last_checked.holds(self):
            self._check()
            _last_checked.note(self)

    def _check(self) -> None:
        check_precision(self.precision)
        self._check_options()
        home = self.tower_home
        complete_folder(self.folder, self.path, self.family, home == self.folder)
        if home is not None and home != self.folder:
            complete_tower(home, self.image_encoder)
            check_same_text(self.folder, home, self.image_encoder)
        _ = self.info
        for part, network in self.networks.items():
            check_network(self.folder, part, network)
        check_tokenizers(self.folder, self.family.tokenizers(self.folder))

    def _check_options(self) -> None:
        if not isinstance(self.image_encoder, bool | str) or self.image_encoder == "":
            allowed = "must be true, false, or the name or folder of the prior whose image encoder is taken"
            raise FieldError("image_encoder", self.image_encoder, allowed)
        if isinstance(self.image_encoder, str) and not self.family.USES_IMAGE_ENCODER:
            raise FieldError(
                "image_encoder",
                self.image_encoder,
                "this kind of prior has no text encoder that fits one; image_encoder=false goes without",
            )
        for name in ("vae_slicing", "vae_tiling", "gradient_checkpointing"):
            if not isinstance(getattr(self, name), bool):
                raise FieldError(name, getattr(self, name), "must be true or false")
        tokens, guidance = self.t5_tokens, self.embedded_guidance
        if tokens is not None and not (is_whole(tokens) and tokens <= MOST_T5_TOKENS):
            allowed = f"must be between 1 and {MOST_T5_TOKENS}, or null for the pipeline's default"
            raise FieldError("t5_tokens", tokens, allowed)
        if guidance is not None and not is_number(guidance):
            raise FieldError(
                "embedded_guidance", guidance, "must be a finite number, or null for the pipeline's default"
            )

    @property
    def networks(self) -> dict[str, str]:
        """Part -> network, of all that are loaded; a part of another folder by its whole path."""
        found = dict(self.family.networks(self.folder))
        if (home := self.tower_home) is not None:
            for part, network in tower_network(home).items():
                found[part if home == self.folder else str((home / part).absolute())] = network
        return found

    @property
    def tower_home(self) -> Path | None:
        """The folder of the image tower that is loaded, see the function of this name."""
        return tower_home(self.folder, self) if self.family.USES_IMAGE_ENCODER else None

    @property
    def files(self) -> list[Path]:
        """See ``PriorSpec``."""
        networks = {self.folder / part: network for part, network in self.networks.items()}
        weights = [file for part, network in networks.items() for file in (weight_files(part, network) or ("", []))[1]]
        others = [self.folder / part for part in (*self.family.tokenizers(self.folder), "scheduler")]
        told = [file for part in (*networks, *others) for file in configuration_files(part)]
        told += [file for file in (self.folder / INDEX,) if file.is_file()]
        return weights + told + ([self.open_clip.file] if self.open_clip is not None else [])

    def number_format(self, device: torch.device) -> str:
        """See ``PriorSpec``."""
        return number_format(self.precision, device)

    def load(self, device: torch.device | str = "cpu") -> Prior:
        """See ``PriorSpec``.

        Raises:
            FieldError: the folder is missing or incomplete, or a value is unknown.
        """
        self.check()
        return self.family.load(self.folder, self.info, self, torch.device(device))


class _LastChecked:
    """The prior that has passed all checks last, and its files at that time."""

    def __init__(self) -> None:
        self.passed: tuple[DiffusersFolder, tuple[Stamp, ...]] | None = None

    def holds(self, prior: DiffusersFolder) -> bool:
        """Whether it is this one, with the same files; a folder that is broken by now is not."""
        try:
            return self.passed is not None and self.passed == (prior, stamps_of(prior.files))
        except (FieldError, FileError, OSError):
            return False

    def note(self, prior: DiffusersFolder) -> None:
        """Remember one."""
        self.passed = prior, stamps_of(prior.files)


_last_checked = _LastChecked()
