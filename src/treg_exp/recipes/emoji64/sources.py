"""Emoji artworks on npm: which there are, how to fetch them, and how to read pictures on white."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from treg_exp.recipes.emoji64.names import readable_name, readable_short_name

#: Pixels per side of every picture.
SIZE = 64


@dataclass(frozen=True)
class Artwork:
    """One artist's drawing of the whole emoji set.

    Attributes:
        style: word of the captions, as in ``red apple, fluent style``.
        package: npm package that carries the pictures.
        version: the exact version that the shipped prior saw.
        folder: where the pictures lie inside the package; of an icon set, ``""``.
        suffix: file suffix of the pictures.
        licence: licence of the drawings (not of the npm wrapper).
        credit: whom to name.
        relative: style of the same artist whose drawings are often nearly the same; None if there is none.
    """

    style: str
    package: str
    version: str
    folder: str
    suffix: str
    licence: str
    credit: str
    relative: str | None = None


#: What the denoiser draws, and where the held-out pictures come from.
ARTWORKS = (
    Artwork(
        "noto", "emoji-datasource-google", "16.0.0", "img/google/64", ".png", "Apache-2.0",
        "Noto Emoji, Google LLC, https://github.com/googlefonts/noto-emoji",
    ),
    Artwork(
        "twemoji", "emoji-datasource-twitter", "16.0.0", "img/twitter/64", ".png", "CC-BY-4.0",
        "Twemoji, Twitter, Inc and other contributors, https://github.com/jdecked/twemoji",
    ),
    Artwork(
        "fluent", "@lobehub/fluent-emoji-3d", "1.1.0", "assets", ".webp", "MIT",
        "Fluent Emoji, Microsoft Corporation, https://github.com/microsoft/fluentui-emoji",
    ),
)  # fmt: skip


#: Further drawings of the same things, from which encoders learn what a thing looks like in any style.
ICON_SETS = (
    Artwork(
        "flat", "@iconify-json/fluent-emoji-flat", "1.2.6", "", ".svg", "MIT",
        "Fluent Emoji (flat), Microsoft Corporation, https://github.com/microsoft/fluentui-emoji", relative="fluent",
    ),
    Artwork(
        "blob", "@iconify-json/noto-v1", "1.2.5", "", ".svg", "Apache-2.0",
        "Noto Emoji (first version), Google LLC, https://github.com/googlefonts/noto-emoji", relative="noto",
    ),
    Artwork(
        "fxemoji", "@iconify-json/fxemoji", "1.2.2", "", ".svg", "Apache-2.0",
        "FxEmojis, Mozilla Foundation, https://github.com/mozilla/fxemoji",
    ),
    Artwork(
        "emojitwo", "@iconify-json/emojione", "1.2.3", "", ".svg", "CC-BY-4.0",
        "EmojiTwo, Emoji One and other contributors, https://github.com/EmojiTwo/emojitwo",
    ),
)  # fmt: skip


ALL_ARTWORKS = (*ARTWORKS, *ICON_SETS)


@dataclass(frozen=True)
class Picture:
    """What is known about one picture.

    Attributes:
        sample_id: unique name made of ``[a-z0-9_-]``, such as ``red_apple-fluent``.
        name: readable lower-case name, the same in all styles.
        aliases: other short names for the same thing.
        style: style word of its artwork, such as ``noto``.
        category: such as ``animals & nature``.
        subcategory: such as ``animal-mammal``.
        codepoint: unified codepoints in lower case, joined by hyphens.
    """

    sample_id: str
    name: str
    aliases: tuple[str, ...]
    style: str
    category: str
    subcategory: str
    codepoint: str


def fetch(artwork: Artwork, data_dir: Path) -> Path:
    """Download and unpack one artwork unless it is there already.

    Args:
        artwork: what to fetch.
        data_dir: cache folder; the tarball is kept in it.

    Returns:
        The unpacked package folder.

    Raises:
        RuntimeError: npm is missing, or could not deliver the package.
    """
    stem = f"{artwork.package.lstrip('@').replace('/', '-')}-{artwork.version}"
    target, tarball = data_dir / stem, data_dir / f"{stem}.tgz"
    if (target / "package").is_dir():
        return target / "package"
    data_dir.mkdir(parents=True, exist_ok=True)
    if not tarball.is_file():
        _npm_pack(f"{artwork.package}@{artwork.version}", data_dir)
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(partial, filter="data")
    partial.replace(target)
    return target / "package"


def read_artwork(artwork: Artwork, package: Path, catalogue: Path) -> list[tuple[Picture, NDArray[np.uint8]]]:
    """Read every base emoji (no skin-tone variants) that the artwork draws.

    Args:
        artwork: which artwork lies in ``package``.
        package: unpacked npm package.
        catalogue: ``emoji.json`` of an emoji-datasource package, which names the emoji.

    Returns:
        Pairs of description and picture, (64, 64, 3) uint8 on white, in the catalogue's order.
    """
    files = {match_key(path.stem): path for path in sorted((package / artwork.folder).glob(f"*{artwork.suffix}"))}
    found = []
    for entry in json.loads(catalogue.read_text()):
        path = files.get(match_key(entry["unified"]))
        if path is not None and entry.get(f"has_img_{_datasource_word(artwork)}", True):
            found.append((describe(entry, artwork.style), read_on_white(path)))
    return found


def read_on_white(file: Path | BinaryIO) -> NDArray[np.uint8]:
    """Read a picture with transparency, lay it on white and bring it to 64 x 64.

    Args:
        file: PNG or WebP.

    Returns:
        (64, 64, 3) uint8.
    """
    from PIL import Image

    with Image.open(file) as raw:
        picture = raw.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, (255, 255, 255, 255)), picture).convert("RGB")
    if flat.size != (SIZE, SIZE):
        flat = flat.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return np.asarray(flat, dtype=np.uint8)


def _npm_pack(spec: str, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            f"npm was not found, and the artwork {spec} is not in {folder}. Install Node.js (npm), or put the "
            "tarball that `npm pack` makes into that folder."
        )
    done = subprocess.run([npm, "pack", spec], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"npm pack {spec} failed: {done.stderr.strip()[-500:]}")


def match_key(codepoints: str) -> str:
    """Codepoints without what publishers disagree on: variation selectors and leading zeros tell no two emoji apart.

    Args:
        codepoints: joined by hyphens, in any case.
    """
    parts = [part.lstrip("0") for part in codepoints.lower().split("-")]
    return "-".join(part for part in parts if part != "fe0f")


def _datasource_word(artwork: Artwork) -> str:
    return artwork.package.rsplit("-", 1)[-1]


def describe(entry: dict[str, Any], style: str) -> Picture:
    """What the catalogue says about an emoji.

    Args:
        entry: one entry of ``emoji.json``.
        style: style word of the artwork that draws it.
    """
    codepoint = entry["unified"].lower()
    name = readable_name(entry["name"], codepoint, entry["subcategory"])
    shorts = dict.fromkeys(readable_short_name(short) for short in entry["short_names"])
    return Picture(
        sample_id=f"{name.replace(' ', '_').replace(chr(39), '')}-{style}",
        name=name,
        aliases=tuple(short for short in shorts if short and short != name),
        style=style,
        category=entry["category"].lower(),
        subcategory=entry["subcategory"],
        codepoint=codepoint,
    )
