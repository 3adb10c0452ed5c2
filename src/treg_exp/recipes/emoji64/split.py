"""Which pictures are kept from all training, and which of those form the shipped test set."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from treg_exp.recipes.emoji64.sources import ARTWORKS, ICON_SETS, Picture

#: Changing any of these makes another data set: published figures no longer apply.
SPLIT_SEED = 20240611
HELD_OUT = 500
TEST = 200

#: Categories of the test set: things that a person can name and a restoration can get wrong.
TEST_CATEGORIES = frozenset(
    {"smileys & emotion", "animals & nature", "food & drink", "objects", "activities", "travel & places"}
)

_RELATIVES = {artwork.style: artwork.relative for artwork in ICON_SETS}


@dataclass(frozen=True)
class Split:
    """Positions in the corpus, each list ascending.

    Attributes:
        train: what every stage may see.
        held_out: never trained on; figures are measured on these.
        test: the part of `held_out` that is shipped.
        further: drawings in further styles that stages may see which learn what things look like in any style.
    """

    train: tuple[int, ...]
    held_out: tuple[int, ...]
    test: tuple[int, ...]
    further: tuple[int, ...] = ()


def draw_split(
    pictures: Sequence[Picture], held_out: int = HELD_OUT, test: int = TEST, seed: int = SPLIT_SEED
) -> Split:
    """Hold out single (name, style) pairs whose name stays in training in every other style.

    At most one style of a name is held out, and only of names drawn in all three styles: what is asked of the
    prior is a known thing in a style in which it never saw that thing. Two thirds of the draw are from the
    everyday categories, because the test set is taken from them. Further drawings are never held out, but left
    out where the same artist's drawing of the thing is held out: the two may be nearly the same.

    Args:
        pictures: the whole corpus.
        held_out: how many pictures to hold out.
        test: how many of these to ship.
        seed: of the draw; independent of every training seed.

    Returns:
        The split.
    """
    rng = random.Random(seed)
    core = {artwork.style for artwork in ARTWORKS}
    by_name: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        if picture.style in core:
            by_name.setdefault(picture.name, []).append(index)
    complete = [name for name, indices in sorted(by_name.items()) if len(indices) == len(ARTWORKS)]
    everyday = [name for name in complete if pictures[by_name[name][0]].category in TEST_CATEGORIES]
    other = sorted(set(complete) - set(everyday))
    share = min(held_out * 2 // 3, len(everyday))
    chosen_everyday = [rng.choice(by_name[name]) for name in rng.sample(everyday, share)]
    chosen_other = [rng.choice(by_name[name]) for name in rng.sample(other, held_out - share)]
    out = set(chosen_everyday) | set(chosen_other)
    hidden = {(pictures[index].name, pictures[index].style) for index in out}
    further = (index for index, picture in enumerate(pictures) if picture.style in _RELATIVES)
    return Split(
        train=tuple(index for index, picture in enumerate(pictures) if picture.style in core and index not in out),
        held_out=tuple(sorted(out)),
        test=tuple(sorted(chosen_everyday[:test])),
        further=tuple(i for i in further if (pictures[i].name, _RELATIVES[pictures[i].style]) not in hidden),
    )
