"""Image and text features by open_clip from local weights, for priors whose folder has no image encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from treg_exp.errors import FieldError, nearest
from treg_exp.numerics.precision import full_precision
from treg_exp.priors.image_text.preprocessing import Preprocessing
from treg_exp.priors.stored_tensors import Shapes, stored_shapes
from treg_exp.priors.weights_fit import check_fit, load_into, shapes_of


@dataclass(frozen=True)
class OpenClipFiles:
    """Which model of open_clip, and the file with its weights.

    Attributes:
        model: name in ``open_clip.list_models()``. Weights by OpenAI belong to the names that end in ``-quickgelu``:
            under the plain names open_clip loads them and computes something else.
        weights: local safetensors file, such as ``open_clip_model.safetensors`` of a model's repository.
        antialias: how images are resized for it, see ``Preprocessing``.
        pretrained: the tag that the weights have in ``open_clip.list_pretrained_tags_by_model(model)``. It says how
            images are normalised, and has to be named where a model's tags differ in that, as those of ViT-L-14 do.
    """

    model: str
    weights: str
    antialias: bool = True
    pretrained: str | None = None

    @property
    def file(self) -> Path:
        """Where the weights are."""
        return Path(self.weights).expanduser()

    def width(self) -> int:
        """Width of the features, after a check of all fields; loads no weights.

        Raises:
            FieldError: no such model, no such file, a file that is not safetensors, or a normalisation that is open.
            FileError: the file is broken or holds the weights of another model.
        """
        import open_clip

        if self.model not in open_clip.list_models():
            raise FieldError(
                "open_clip.model", self.model, f"no such model{nearest(self.model, open_clip.list_models()) or '.'} "
                "`python -c 'import open_clip; print(open_clip.list_models())'` prints all names"
            )  # fmt: skip
        file = self.file
        if file.suffix != ".safetensors" or not file.is_file():
            raise FieldError(
                "open_clip.weights", self.weights, "must be an existing .safetensors file; download "
                "open_clip_model.safetensors of the model's repository (pickles are not read)"
            )  # fmt: skip
        self.statistics()
        _check_weights(self.model, file)
        width: int = open_clip.get_model_config(self.model)["embed_dim"]
        return width

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel with which the weights were trained, for images in [0, 1].

        Raises:
            FieldError: no such tag, or tags that differ and none is named.
        """
        import open_clip

        known = open_clip.list_pretrained_tags_by_model(self.model)
        if self.pretrained is not None and self.pretrained not in known:
            told = ", ".join(known) or "none"
            raise FieldError("open_clip.pretrained", self.pretrained, f"no tag of {self.model}; {told}")
        tags = known if self.pretrained is None else [self.pretrained]
        configs = [open_clip.get_pretrained_cfg(self.model, tag) for tag in tags]
        found = {(tuple(config["mean"]), tuple(config["std"])) for config in configs}
        if len(found) > 1:
            raise FieldError(
                "open_clip.model", self.model, "its weights were trained with different normalisations; say with "
                f"open_clip.pretrained which ones they are: {', '.join(tags)}"
            )  # fmt: skip
        return found.pop() if found else (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)

    def load(self, device: torch.device) -> OpenClip:
        """Both towers, frozen, in float32.

        Raises:
            FileError: the weights are those of another model.
        """
        import open_clip

        width = self.width()
        model = open_clip.create_model(self.model, load_weights=False)
        load_into(model, self.file, self.model)
        tokenizer = open_clip.get_tokenizer(self.model)
        return OpenClip(model.to(device), tokenizer, width, *self.statistics(), self.antialias)


@lru_cache(maxsize=4)
def shapes_of_model(model: str) -> Shapes:
    """Shape by name of all tensors of a model, built without memory."""
    import open_clip

    with torch.device("meta"):
        return shapes_of(open_clip.create_model(model, load_weights=False, device="meta"))


def _check_weights(model: str, file: Path) -> None:
    """Refuse the weights of another model; reads their header only."""
    check_fit(str(file), model, shapes_of_model(model), stored_shapes([file]))


class OpenClip:
    """``ImageText`` around an open_clip model, with its own preprocessing in differentiable form."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        width: int,
        mean: Sequence[float],
        std: Sequence[float],
        antialias: bool = True,
    ) -> None:
        self.model, self.tokenizer, self.width = model.eval().requires_grad_(False), tokenizer, width
        size = model.visual.image_size
        shape: tuple[int, int] = (size, size) if isinstance(size, int) else tuple(size)
        self.device = next(model.parameters()).device
        self.preprocess = Preprocessing(shape, mean, std, antialias).to(self.device)

    def image_features(self, x: Tensor) -> Tensor:
        """See ``ImageText``."""
        with full_precision(x.device):
            features: Tensor = self.model.encode_image(self.preprocess(x))
        return F.normalize(features.float(), dim=-1)

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """See ``ImageText``."""
        features: Tensor = self.model.encode_text(self.tokenizer(list(prompts)).to(self.device))
        return F.normalize(features.float(), dim=-1)

    def project(self, tokens: Tensor) -> Tensor:
        """See ``PairedTowers``. Towers without a projection of their own are compared as they are."""
        tower = getattr(self.model, "text", self.model)  # custom towers are a module of their own
        projection = getattr(tower, "text_projection", None)
        if projection is None:
            return tokens
        projected: Tensor = projection(tokens) if isinstance(projection, torch.nn.Module) else tokens @ projection
        return projected
