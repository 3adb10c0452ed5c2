"""Whether a judge is another network than those that guided what it judges.

Who scores with the network that guidance has climbed measures the climb. A judge by open_clip is compared with every
open_clip model that guides, and with the towers in the prior's own folder: by name, by tag and by the weights, which
are found again in another file, format or precision. Headers, a few rows and, of files of one size, hashes are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.errors import FieldError
from treg_exp.priors.image_text.open_clip import OpenClipFiles
from treg_exp.stamps import digest_of, stamp_of

ADVICE = "a judge has to be another network, as ViT-B-16-SigLIP beside ViT-L-14 (docs/metrics.md)"
TOWERS = ("text_encoder", "image_encoder")  # parts of a prior's folder, also with a number behind
#: Ends of the names of the first tensor of a tower: of texts, in transformers and open_clip; of images, in both.
FIRST_TENSORS = (
    "token_embedding.weight",
    "patch_embedding.weight",
    "patch_embed.proj.weight",
    "visual.conv1.weight",
    "stem.0.weight",
    "patch_embeddings.weight",
)
ROWS = 64  # of such a tensor that are compared
SAME = 0.999  # cosine of two of them: half precision changes it by 1e-6, another training gives less than 0.5
VARIANT = re.compile(r"(-quickgelu|-(224|256|280|336|378|384|448|512))+$")  # of one architecture


@dataclass(frozen=True)
class Guide:
    """A network that knows pictures or texts and that has a part in the restorations.

    Attributes:
        place: where it stands in the configuration.
        open_clip: the model, where it is one of open_clip's.
        files: with its weights, safetensors.
    """

    place: str
    open_clip: OpenClipFiles | None
    files: tuple[Path, ...]


def guides_of(pieces: Mapping[str, object]) -> list[Guide]:
    """All networks for pictures and texts that built pieces use, each once.

    Args:
        pieces: by their place in the configuration: prior, solver, text policies.
    """
    found: dict[object, Guide] = {}
    for place, piece in pieces.items():
        for where, files in _open_clips(piece, place):
            found.setdefault(files, Guide(where, files, (files.file,)))
        parts: dict[str, list[Path]] = {}
        for file in getattr(piece, "files", ()):
            if file.suffix == ".safetensors" and file.parent.name.startswith(TOWERS):
                parts.setdefault(file.parent.name, []).append(file)
        for part, weights in parts.items():
            found.setdefault(tuple(weights), Guide(f"{place}'s {part}", None, tuple(weights)))
    return list(found.values())


def _open_clips(piece: Any, place: str) -> Iterator[tuple[str, OpenClipFiles]]:
    if isinstance(piece, OpenClipFiles):
        yield place, piece
    elif is_dataclass(piece) and not isinstance(piece, type):
        for field in fields(piece):
            yield from _open_clips(getattr(piece, field.name, None), f"{place}.{field.name}")
    elif isinstance(piece, Mapping):
        for name, child in piece.items():
            yield from _open_clips(child, f"{place}.{name}")
    elif isinstance(piece, (list, tuple)):
        for number, child in enumerate(piece):
            yield from _open_clips(child, f"{place}.{number}")


def check_other(judge: OpenClipFiles, guides: Sequence[Guide]) -> str:
    """Refuse a judge that is one of the guides.

    Returns:
        What to know where it is a relative of one: the same architecture with other weights.

    Raises:
        FieldError: it is one of them, or nobody says that it is not.
    """
    related = []
    for guide in guides:
        if tower := same_tower(judge.file, guide.files):
            raise FieldError("open_clip.weights", judge.weights, f"holds the {tower} of {guide.place}; {ADVICE}")
        other = guide.open_clip
        if other is None or architecture(judge.model) != architecture(other.model):
            continue
        tags = {judge.pretrained, other.pretrained}
        if len(tags) == 1:
            said = f"with the same tag {judge.pretrained}" if judge.pretrained else "and no tag tells them apart"
            raise FieldError("open_clip.model", judge.model, f"is the architecture of {guide.place}, {said}; {ADVICE}")
        related.append(f"{judge.model} is the architecture of {guide.place}, trained otherwise")
    return "; ".join(related) and f"{'; '.join(related)}: its judgement is not quite independent"


def architecture(model: str) -> str:
    """An open_clip model's name without what changes no network: activation and resolution."""
    return VARIANT.sub("", model)


def same_tower(judge: Path, files: Sequence[Path]) -> str:
    """What a judge's file has in common with others: ``weights``, ``text tower`` or ``image tower``, or nothing."""
    if any(_same_file(judge, file) for file in files):
        return "weights"
    own = first_tensors(judge)
    for file in files:
        for name, theirs in first_tensors(file).items():
            for mine in own.values():
                if mine.shape == theirs.shape and _cosine(mine, theirs) > SAME:
                    return "text tower" if name.endswith("token_embedding.weight") else "image tower"
    return ""


def _same_file(one: Path, other: Path) -> bool:
    return stamp_of(one).size == stamp_of(other).size and digest_of(one) == digest_of(other)


def first_tensors(file: Path) -> dict[str, Tensor]:
    """A few rows of the first tensor of each tower in a safetensors file, by name, float32."""
    return dict(_first_tensors(file, stamp_of(file)))


@lru_cache(maxsize=8)
def _first_tensors(file: Path, stamp: object) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        names = [name for name in opened.keys() if name.endswith(FIRST_TENSORS)]  # noqa: SIM118
        return {name: opened.get_slice(name)[:ROWS].float() for name in names}


def _cosine(one: Tensor, other: Tensor) -> float:
    one, other = one.flatten().double(), other.flatten().double()
    return float(torch.dot(one, other) / (one.norm() * other.norm()).clamp(min=1e-30))
