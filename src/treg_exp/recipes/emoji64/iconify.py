"""Further drawings of the same things: SVG icon sets on npm, matched by name and rasterised."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treg_exp.recipes.emoji64.sources import SIZE, Artwork, Picture, describe, match_key, read_on_white

#: Drawn at this many times the final size first, which smooths edges.
OVERSAMPLING = 2


def read_icon_set(
    artwork: Artwork, package: Path, catalogue: Path, common_names: dict[str, str]
) -> list[tuple[Picture, NDArray[np.uint8]]]:
    """Read every icon whose name belongs to exactly one emoji of the catalogue.

    Args:
        artwork: which artwork lies in ``package``.
        package: unpacked npm package with an ``icons.json``.
        catalogue: ``emoji.json`` of an emoji-datasource package, which names the emoji.
        common_names: icon name by codepoints, as `names_by_codepoint` reads it from a set that knows both.

    Returns:
        Pairs of description and picture, (64, 64, 3) uint8 on white, in the catalogue's order.
    """
    icons = json.loads((package / "icons.json").read_text())
    available = {_joined(name): name for name in (*icons["icons"], *icons.get("aliases", {}))}
    entries = json.loads(catalogue.read_text())
    chosen = [_first_match(entry, common_names, available) for entry in entries]
    uses = Counter(chosen)
    return [
        (describe(entry, artwork.style), rasterise(svg_of(icons, name)))
        for entry, name in zip(entries, chosen, strict=True)
        if name is not None and uses[name] == 1  # "tiger" for both tiger and tiger face: which is it?
    ]


def names_by_codepoint(package: Path) -> dict[str, str]:
    """Icon names of a set that states their codepoints.

    Args:
        package: unpacked npm package with a ``chars.json``.
    """
    return {match_key(code): name for code, name in json.loads((package / "chars.json").read_text()).items()}


def svg_of(icons: dict[str, Any], name: str) -> str:
    """One icon as a document.

    Args:
        icons: content of ``icons.json``.
        name: an icon or an alias of one, which may be mirrored.
    """
    alias = icons.get("aliases", {}).get(name, {})
    icon = {**icons, **icons["icons"][alias.get("parent", name)], **alias}
    width, height = icon.get("width", 16), icon.get("height", 16)
    body = icon["body"]
    if icon.get("hFlip"):
        body = f'<g transform="translate({width} 0) scale(-1 1)">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}">{body}</svg>'
    )


def rasterise(svg: str) -> NDArray[np.uint8]:
    """Draw a square SVG on white.

    Args:
        svg: the document.

    Returns:
        (64, 64, 3) uint8.

    Raises:
        RuntimeError: the package that draws SVG is not installed.
    """
    try:
        from resvg_py import svg_to_bytes
    except ModuleNotFoundError:
        raise RuntimeError("resvg-py, which draws SVG, is not installed: pip install 'treg_exp[training]'") from None
    side = OVERSAMPLING * SIZE
    return read_on_white(io.BytesIO(bytes(svg_to_bytes(svg_string=svg, width=side, height=side))))


def _first_match(entry: dict[str, Any], common_names: dict[str, str], available: dict[str, str]) -> str | None:
    picture = describe(entry, "")
    candidates = [common_names.get(match_key(entry["unified"]), ""), picture.name, entry["name"]]
    if picture.subcategory == "country-flag":
        place = picture.name.removeprefix("flag of ")
        candidates += [f"flag for {place}", f"flag for flag {place}"]
    candidates += picture.aliases
    return next((available[_joined(c)] for c in candidates if _joined(c) in available), None)


def _joined(name: str) -> str:
    # Sets differ in hyphens and apostrophes; nothing else tells two names apart.
    return re.sub(r"[^a-z0-9]", "", name.lower())
