"""The judge: an image-text encoder that scores restorations and that no solver ever sees.

Whoever scores with the encoder that guidance optimises measures the optimisation. This one shares nothing with the
prior's CLIP but the names of things: a residual network instead of a ConvNeXt, words and letter triples instead of a
transformer on byte pairs, both towers trained together, other augmentations, another seed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from treg_exp.errors import FileError
from treg_exp.files import write_json
from treg_exp.priors.checked_json import read_section, told
from treg_exp.priors.weights_fit import load_into
from treg_exp.stamps import Stamp, stamps_of

FOLDER = Path(__file__).parents[2] / "assets" / "judge"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
KNOWN_PRIORS = ("emoji64", "emoji64_pixel")  # whose pictures are those that the judge that ships was trained on
SIZE = 64  # pixels per side that the image tower was trained on


class Judge(nn.Module):
    """Two towers into one space; implements ``ImageText``.

    Args:
        width: of the shared space.
        channels: of the four resolutions of the image tower: 32, 16, 8 and 4 pixels per side.
        blocks: residual blocks at each resolution.
        buckets: pieces of text that can be told apart; their hashes share the places.
        piece_width: of a piece's embedding.
    """

    def __init__(
        self,
        width: int = 128,
        channels: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (1, 1, 2, 2),
        buckets: int = 16384,
        piece_width: int = 64,
    ) -> None:
        super().__init__()
        self.config = {
            "width": width,
            "channels": list(channels),
            "blocks": list(blocks),
            "buckets": buckets,
            "piece_width": piece_width,
        }
        self.width, self.buckets = width, buckets
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, stride=2, padding=1, bias=False)]
        for before, now, count in zip((channels[0], *channels[:-1]), channels, blocks, strict=True):
            if before != now:
                layers += [_norm(before), nn.SiLU(), nn.Conv2d(before, now, 2, stride=2, bias=False)]
            layers += [Residual(now) for _ in range(count)]
        self.trunk = nn.Sequential(*layers, _norm(channels[-1]), nn.SiLU())
        self.image_head = nn.Linear(2 * channels[-1], width)
        self.pieces = nn.Embedding(buckets + 1, piece_width, padding_idx=0)
        self.importance = nn.Embedding(buckets + 1, 1, padding_idx=0)
        self.text_head = nn.Sequential(
            nn.LayerNorm(piece_width), nn.Linear(piece_width, 512), nn.SiLU(), nn.Linear(512, width)
        )
        nn.init.zeros_(self.importance.weight)

    def image_features(self, x: Tensor) -> Tensor:
        """Unit vectors of images.

        Args:
            x: (B, 3, H, W) in [-1, 1]; brought to 64 x 64.

        Returns:
            (B, F) float32, differentiable.
        """
        return self.features_at_size(at_size(x))

    def features_at_size(self, x: Tensor) -> Tensor:
        """Unit vectors of images at whatever size they have; training starts with smaller ones.

        Args:
            x: (B, 3, H, W) in [-1, 1].

        Returns:
            (B, F) float32, differentiable.
        """
        return F.normalize(self.image_head(self.pooled(x)).float(), dim=-1)

    def pooled(self, x: Tensor) -> Tensor:
        """Means and maxima of the last maps of the image tower: what distances between sets of images compare.

        Args:
            x: (B, 3, H, W) in [-1, 1], 64 x 64 where features are to be those of the training.

        Returns:
            (B, 512) with the default channels.
        """
        maps = self.trunk(x)
        return torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors of texts.

        Args:
            prompts: B texts.

        Returns:
            (B, F) float32.
        """
        return self.features_of_pieces(self.pieces_of(prompts).to(self.pieces.weight.device))

    def features_of_pieces(self, ids: Tensor) -> Tensor:
        """Unit vectors of texts that were cut into pieces.

        Args:
            ids: (B, L) int64, as `pieces_of` gives them.

        Returns:
            (B, F) float32.
        """
        weights = self.importance(ids)[..., 0].masked_fill(ids == 0, -torch.inf).softmax(dim=1)
        text = torch.einsum("bl,blw->bw", weights, self.pieces(ids))
        return F.normalize(self.text_head(text).float(), dim=-1)

    def pieces_of(self, prompts: Sequence[str]) -> Tensor:
        """Words, neighbouring words and letter triples of each text, hashed.

        Args:
            prompts: B texts.

        Returns:
            (B, L) int64 in 1 to ``buckets``; 0 fills up. A text without letters is one piece of its own.
        """
        hashed = [[1 + zlib.crc32(piece.encode()) % self.buckets for piece in split_text(text)] for text in prompts]
        longest = max(map(len, hashed), default=1)
        return torch.tensor([ids + [0] * (longest - len(ids)) for ids in hashed])

    def save(self, folder: Path) -> None:
        """Write weights in half precision and the configuration.

        Args:
            folder: created where it is missing.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        state = {name: v.half() if v.is_floating_point() else v for name, v in self.state_dict().items()}
        save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
        write_json(folder / CONFIG, self.config)


class Residual(nn.Module):
    """Two 3 x 3 convolutions around which the input is carried (pre-activation, arXiv 1603.05027)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *(_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            *(_norm(channels), nn.SiLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        moved: Tensor = self.inner(x)
        return x + moved


def at_size(x: Tensor) -> Tensor:
    """(B, 3, H, W) resized to the 64 x 64 pixels that the judge was trained on; such images as they are."""
    if x.shape[-2:] == (SIZE, SIZE):
        return x
    return F.interpolate(x, size=(SIZE, SIZE), mode="bicubic", antialias=True)


def judge_files(folder: str | Path | None = None) -> list[Path]:
    """Files of a judge; of the one that ships for None."""
    place = FOLDER if folder is None else Path(folder)
    return [place / CONFIG, place / WEIGHTS]


def load_judge(folder: str | Path | None = None) -> Judge:
    """The judge, frozen; all jobs of a process share it.

    Args:
        folder: what :meth:`Judge.save` wrote; None for the one that ships.

    Raises:
        FileError: the folder or one of its files is missing or broken.
    """
    place = FOLDER if folder is None else Path(folder)
    if missing := [name for name in (CONFIG, WEIGHTS) if not (place / name).is_file()]:
        raise FileError(
            f"no judge in {place}: {' and '.join(missing)} missing. Restore the one that ships (git checkout, or "
            "install the package again), or make one: treg-exp train-prior --stage judge, then --stage export"
        )
    return _loaded(place, stamps_of([place / CONFIG, place / WEIGHTS]))


@lru_cache(maxsize=1)
def _loaded(place: Path, stamps: tuple[Stamp, ...]) -> Judge:
    """See above; the stamps are those of its files."""
    config = read_section(place / CONFIG)
    try:
        judge = Judge(**config)
    except Exception as error:  # whatever torch makes of values that it cannot use
        raise FileError(f"{config.file} describes no judge: {told(error)}") from error
    load_into(judge, place / WEIGHTS)
    return judge.eval().requires_grad_(False)


def caution_of_judge(folder: str | Path | None, prior: str) -> str:
    """Why a judge's numbers may mean nothing for a prior: the one that ships knows emoji only.

    Args:
        folder: of the judge; None for the one that ships.
        prior: its name.
    """
    if folder is not None or prior in KNOWN_PRIORS:
        return ""
    return (
        f"the judge that ships has seen emoji only, so its numbers mean nothing for what prior {prior} makes, unless "
        "that is emoji, too; metrics=default goes without it, metrics=judge_open_clip takes another network"
    )


def split_text(text: str) -> list[str]:
    """Words, pairs of neighbouring words and letter triples; what is said twice counts once.

    Args:
        text: any; case and punctuation do not matter.

    Returns:
        At least one piece.
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    pairs = [f"{left} {right}" for left, right in pairwise(words)]
    triples = [f"#{marked[i : i + 3]}" for word in words for marked in [f"<{word}>"] for i in range(len(marked) - 2)]
    return list(dict.fromkeys([*words, *pairs, *triples])) or [""]


def _norm(channels: int) -> nn.Module:
    # Of groups, not of the batch: what one image scores must not depend on its neighbours.
    return nn.GroupNorm(channels // 16, channels)
