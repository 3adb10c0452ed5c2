"""The card that ships with the evaluation model."""

from __future__ import annotations

from collections.abc import Mapping

from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.modelcard import licence_table
from treg_exp.training.folder import TrainingFolder

_CARD = """\
# judge: an image-text encoder for evaluation

Says how well an image fits a text about emoji. No solver and no guidance may use it: it exists so that what is scored
is not what was optimised (`metrics=judge`).

| | this judge | CLIP of the prior |
|---|---|---|
| image tower | pre-activation residual network, 32/64/128/256 wide, group norm | ConvNeXt, 48/96/192/128 wide |
| text tower | hashed words, word pairs and letter triples, weighted mean, two layers | transformer on byte pairs |
| towers | trained together | text tower first, then the image tower alone |
| objective | which of all {names} names, which style? | contrast in the batch, then which of all names and styles? |
| augmentation | shifts, scales, turns, blur, noise, light, holes | shifts, scales, lesser turns, light |
| seed | {seed} | 0 |

Input: RGB in [-1, 1], 64 x 64. Features: unit vectors of 128. Weights are averages over training, stored as float16.

## Data and licences

{pictures} drawings of {names} things; the {held_out} held-out pictures of the prior were never seen, nor were the same
artist's other drawings of these things.

| style word | package on npm | drawings by | licence of the drawings |
|---|---|---|---|
{licences}

## Figures

Name of a held-out picture found among all {names} names: first {top1:.1%}, among the first five {top5:.1%}
({held_out} pictures).

Trained for {steps} steps of {batch} pictures in {minutes} minutes: `treg-exp train-prior --stage judge`.

## Known limits

It knows emoji and nothing else, reads a text as a bag of words, and was trained on the same names as the prior: it is
independent of the prior's weights, not of its world.
"""


def judge_card(corpus: Corpus, folder: TrainingFolder, figures: Mapping[str, float]) -> str:
    """The README of an exported judge.

    Args:
        corpus: pictures and split.
        folder: where it was trained.
        figures: what it finds on held-out pictures, ``top1`` and ``top5``.
    """
    settings, rows = folder.settings(), folder.figures()
    steps, minutes = (f"{rows[-1]['step']:.0f}", f"{rows[-1]['minutes']:.2f}") if rows else ("?", "?")
    return _CARD.format(
        names=len(corpus.names),
        pictures=len(corpus.split.train) + len(corpus.split.further),
        held_out=len(corpus.split.held_out),
        licences=licence_table(),
        seed=settings["seed"],
        batch=settings["data"]["batch_size"],
        steps=steps,
        minutes=minutes,
        **figures,
    )
