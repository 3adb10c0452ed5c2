"""The card that ships with the prior of pixels: how it was trained, and what its samples are like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from treg_exp.api import Identity, Unconditional, load_prior, measure, restore
from treg_exp.files import read_json, write_json, write_text
from treg_exp.metrics.networks.judge import Judge
from treg_exp.priors.prior import Prior
from treg_exp.recipes.emoji64.captions import styled_caption
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.distributions import distances
from treg_exp.recipes.emoji64.evaluate import Figures, features_of, spread
from treg_exp.recipes.emoji64.grain import grain
from treg_exp.recipes.emoji64.modelcard import licence_table, with_bounds
from treg_exp.recipes.emoji64.nearest import SAME, nearest_training
from treg_exp.recipes.emoji64.retrieval import hits_of, name_ranks
from treg_exp.recipes.emoji64.samples import SHEET_PROMPTS, Sampling, contact_sheet
from treg_exp.recipes.emoji64.sources import ARTWORKS
from treg_exp.reports.summary import statistics
from treg_exp.signals.image import save_png
from treg_exp.training.folder import TrainingFolder

FIGURES = "figures.json"

_CARD = """\
# emoji64_pixel: a small text-to-image prior of pixels

A diffusion model of 64 x 64 pictures themselves, without an autoencoder, for the solvers whose papers work on signals:
DPS, DDRM, DDNM, DiffPIR, RED-diff and ProjDiff. `method=ddrm` and the others take it, `prior=emoji64_pixel` chooses it.
It saw the same drawings as `emoji64`, far less often, and is no general image model.

| folder | what |
|---|---|
| `unet/` | {parameters:.1f} million parameters, {widths} wide, `{prediction}`; {patch} x {patch} pixels are one place |
| `text_encoder/`, `tokenizer/` | those of `emoji64`, unchanged |
| `scheduler/` | DDIM, schedule of Stable Diffusion 1.5, clean at its end |

There is no image encoder; `prior=emoji64_pixel` takes that of `emoji64`. Weights are averages over training, stored as
float16. Because of the patches no pipeline of diffusers draws from it.

## Training

The recipe `emoji64/pixel`{parts}, on two CPU cores. `focus` is where training looks most, `snr_range`
bounds the weight of an error. Losses are on held-out pictures with fixed noise, comparable only at one `snr_range`.

{trainings}

## Data and licences

The three styles of `emoji64`: {train} drawings, without the {held_out} (name, style) pairs that were held out there.

| style word | package on npm | drawings by | licence of the drawings |
|---|---|---|---|
{licences}

## Figures

{drawn} samples of captions of held-out pictures, guidance {guidance:g}, {sampling_steps} DDIM steps; in brackets 95 %
bootstrap bounds of the mean:

{figures}

The judge (`../judge`) is an encoder that no training of this prior touched; chance is {chance5:.2%} among the first
five. RMSE is in units of [-1, 1]; below {same} two pictures are drawings of the same thing.

![samples](samples.png)

All with seed 0, none picked out. Prompts row by row: {prompts}.

## Known failures

Samples keep more grain than drawings have, see the table. Colours and outlines follow the text; what a thing is can
rarely be told.
"""

_PART = """\
**{pictures:,} pictures** in {steps:,} steps of {batch}, {minutes:.0f} minutes, at a rate of {rate:g} that falls to zero
over the last {decay:.0%}, `focus={focus}`, `snr_range={snr_range}`:

{curve}"""

_LABELS = {
    "judge_top1": ("name of a sample found by the judge, first", "{:.1%}"),
    "judge_top5": ("among the first five", "{:.1%}"),
    "real_judge_top5": ("the same of held-out pictures", "{:.1%}"),
    "nearest": ("RMSE of a sample to the nearest training picture", "{:.3f}"),
    "same": ("samples that are a drawing of the same thing as a training picture", "{:.1%}"),
    "grain": ("white noise on a sample (robust estimate)", "{:.4f}"),
    "real_grain": ("the same of held-out pictures", "{:.4f}"),
    "frechet": ("Frechet distance of samples to held-out pictures, in the judge's features", "{:.3f}"),
}


def write_pixel_card(
    corpus: Corpus, judge: Judge, training: TrainingFolder, parameters: int, folder: Path, samples: int = 100
) -> None:
    """Measure an exported prior of pixels, and write ``README.md``, ``figures.json`` and ``samples.png`` into it.

    Args:
        corpus: pictures and split.
        judge: tells what samples show.
        training: of the exported weights.
        parameters: of the network, as many as there are.
        folder: of the prior.
        samples: how many are measured.
    """
    prior, sampling = load_prior(str(folder), precision="fp32"), Sampling()
    figures, trainings = _figures(prior, sampling, corpus, judge, samples), told_trainings(training)
    save_png(contact_sheet(_draw(prior, list(SHEET_PROMPTS), sampling).clamp(-1.0, 1.0)), folder / "samples.png")
    write_json(folder / FIGURES, {"all": figures, "trainings": trainings})
    write_text(folder / "README.md", _card(corpus, training.settings(), trainings, parameters, sampling, figures))


def told_trainings(training: TrainingFolder) -> list[dict[str, Any]]:
    """What has made the weights of a training, oldest first: itself, and those that its first weights come from.

    These are told by the figures of the prior that the first weights lie in, if it has a card.
    """
    settings, rows = training.settings(), training.figures()
    first = settings["objective"].get("weights")
    card = Path(first).absolute().parent.parent / FIGURES if first else None
    before = read_json(card).get("trainings", []) if card and card.is_file() else []
    batch = settings["data"]["batch_size"]
    own = {
        "pictures": int(rows[-1]["step"]) * batch,
        "steps": int(rows[-1]["step"]),
        "batch": batch,
        "minutes": rows[-1]["minutes"],
        "rate": settings["optimizer"]["rate"],
        "decay": settings["schedule"]["decay_fraction"],
        "focus": list(settings["objective"]["focus"]),
        "snr_range": list(settings["objective"]["snr_range"]),
        "losses": [[int(row["step"]) * batch, row["val_loss"]] for row in rows],
    }
    return [*before, own]


@torch.no_grad()
def _draw(prior: Prior, prompts: list[str], sampling: Sampling, batch: int = 50) -> Tensor:
    """(B, 3, H, W), about in [-1, 1], each sample from a noise of its own."""
    parts = []
    for start in range(0, len(prompts), batch):
        texts = prompts[start : start + batch]
        nothing = measure(Identity(prior.info.signal_shape), torch.zeros(len(texts), *prior.info.signal_shape))
        solver = Unconditional(sampling.steps)
        parts.append(restore(nothing, prior, texts, solver, sampling.guidance, seed=start))
    return torch.cat(parts)


@torch.no_grad()
def _figures(prior: Prior, sampling: Sampling, corpus: Corpus, judge: Judge, samples: int) -> Figures:
    held_out = torch.tensor(corpus.split.held_out)
    prompted = spread(held_out, samples)
    pictures = [corpus.pictures[index] for index in prompted.tolist()]
    raw = _draw(prior, [styled_caption(picture.name, picture.style) for picture in pictures], sampling)
    drawn = raw.clamp(-1.0, 1.0)
    text = judge.text_features(corpus.names)
    real, found = (features_of(judge, images) for images in (corpus.as_float(held_out), drawn))
    values = {f"judge_{top}": hit for top, hit in hits_of(name_ranks(found, text, corpus.labels[prompted])).items()}
    ranks = name_ranks(real, text, corpus.labels[held_out])
    values["real_judge_top5"] = hits_of(ranks)["top5"]
    values["nearest"], _ = nearest_training(drawn, corpus)
    values["same"] = (values["nearest"] < SAME).double()
    values |= {"grain": grain(raw), "real_grain": grain(corpus.as_float(held_out))}  # clamping would hide it in white
    return {name: statistics(value.tolist()) for name, value in values.items()} | distances(real, found)


def _card(
    corpus: Corpus, settings: Mapping[str, Any], trainings: Sequence[Mapping[str, Any]], parameters: int,
    sampling: Sampling, figures: Figures,
) -> str:  # fmt: skip
    objective = settings["objective"]
    return _CARD.format(
        parameters=parameters / 1e6,
        widths="/".join(map(str, objective["widths"])),
        prediction=objective["prediction"],
        patch=objective["patch"],
        parts=""
        if len(trainings) == 1
        else f", in {len(trainings)} trainings, each from the weights of the one before",
        trainings="\n\n".join(_PART.format(curve=_curve(part["losses"]), **part) for part in trainings),
        train=len(corpus.split.train),
        held_out=len(corpus.split.held_out),
        licences=licence_table(ARTWORKS),
        drawn=figures["judge_top1"]["n"],
        guidance=sampling.guidance,
        sampling_steps=sampling.steps,
        figures=_table(figures),
        chance5=5 / len(corpus.names),
        same=SAME,
        prompts="; ".join(prompt or "(empty)" for prompt in SHEET_PROMPTS),
    )


def _curve(losses: Sequence[tuple[int, float]], points: int = 8) -> str:
    """Evenly spread losses of a training, the last one included."""
    chosen = [losses[round(i * (len(losses) - 1) / max(points - 1, 1))] for i in range(min(points, len(losses)))]
    lines = ["| pictures | loss |", "|---|---|"]
    return "\n".join([*lines, *(f"| {pictures:,} | {loss:.4f} |" for pictures, loss in chosen)])


def _table(figures: Figures) -> str:
    lines = ["| figure | value | pictures |", "|---|---|---|"]
    for name, (label, form) in _LABELS.items():
        if name in figures:
            lines.append(f"| {label} | {with_bounds(figures[name], form)} | {figures[name]['n']} |")
    return "\n".join(lines)
