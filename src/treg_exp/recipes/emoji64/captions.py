"""Everyday captions for the pictures: what a user may type has to occur in training."""

from __future__ import annotations

import re

import torch

from treg_exp.recipes.emoji64.sources import ALL_ARTWORKS, Picture

#: Style words of the captions.
STYLES = tuple(artwork.style for artwork in ALL_ARTWORKS)

#: Words for what a thing is, by the start of its subcategory; the longest match wins.
KINDS = {
    "animal": "animal",
    "animal-bird": "bird",
    "animal-bug": "insect",
    "body": "body part",
    "cat-face": "cat",
    "clothing": "clothing",
    "drink": "drink",
    "face": "smiley",
    "food": "food",
    "food-fruit": "fruit",
    "food-sweet": "dessert",
    "food-vegetable": "vegetable",
    "hand": "hand gesture",
    "heart": "heart",
    "household": "household object",
    "monkey-face": "monkey",
    "musical-instrument": "musical instrument",
    "office": "office object",
    "person": "person",
    "place-building": "building",
    "plant-flower": "flower",
    "plant": "plant",
    "sky & weather": "weather",
    "sport": "sport",
    "tool": "tool",
    "transport-air": "aircraft",
    "transport-ground": "vehicle",
    "transport-water": "boat",
}

#: Templates with relative weights. The first is the caption of the shipped test set.
TEMPLATES = {
    "{name}, {style} style": 6.0,
    "{name}": 3.0,
    "{article} {name}": 2.0,
    "a photo of {article} {name}": 1.0,
    "an emoji of {article} {name}": 1.0,
    "{style} emoji of {article} {name}": 1.0,
    "{alias}": 1.0,
    "{alias}, {style} style": 1.0,
    "{article} {alias}": 0.5,
    "{kind} {name}": 0.5,
    "a photo of {article} {kind}": 0.25,
    "{kind}, {style} style": 0.25,
}

_STYLED = re.compile(rf"\b({'|'.join(STYLES)}) (style|emoji)\b")


def styled_caption(name: str, style: str) -> str:
    """The caption of the shipped test set, and the commonest in training.

    Args:
        name: readable name of the thing.
        style: one of `STYLES`.
    """
    return f"{name}, {style} style"


def names_style(caption: str) -> bool:
    """Whether a caption says in which style the thing is drawn.

    Args:
        caption: made from one of the `TEMPLATES`; a style word may also be part of a name ("flat shoe").
    """
    return bool(_STYLED.search(caption))


def kind_of(picture: Picture) -> str:
    """A plain word for what the picture shows, ``""`` where there is none.

    Args:
        picture: whose subcategory decides.
    """
    matches = [start for start in KINDS if picture.subcategory.startswith(start)]
    return KINDS[max(matches, key=len)] if matches else ""


def caption_variants(picture: Picture, *, naming: bool = False) -> dict[str, float]:
    """All captions of a picture with their relative weights.

    Args:
        picture: what to caption.
        naming: leave out captions that fit many things ("a photo of a fruit"), as contrastive training needs.

    Returns:
        Distinct captions and their weights; never empty.
    """
    variants: dict[str, float] = {}
    kind = kind_of(picture)
    for template, weight in TEMPLATES.items():
        if naming and "{kind}" in template and "{name}" not in template:
            continue
        for alias in picture.aliases or ("",):
            words = {"name": picture.name, "alias": alias, "kind": kind, "style": picture.style}
            if not all(word for slot, word in words.items() if f"{{{slot}}}" in template):
                continue
            article = _article(next(words[slot] for slot in ("name", "alias", "kind") if f"{{{slot}}}" in template))
            caption = template.format(article=article, **words)
            variants[caption] = variants.get(caption, 0.0) + weight / max(1, len(picture.aliases))
    return variants


def draw_caption(picture: Picture, generator: torch.Generator, *, naming: bool = False) -> str:
    """One caption at random.

    Args:
        picture: what to caption.
        generator: CPU source of the draw.
        naming: see `caption_variants`.
    """
    variants = caption_variants(picture, naming=naming)
    weights = torch.tensor(list(variants.values()))
    return list(variants)[int(torch.multinomial(weights, 1, generator=generator))]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
