"""The model card and data card that ship with the prior, filled with measured figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from treg_exp.files import read_json
from treg_exp.recipes.emoji64.corpus import Corpus
from treg_exp.recipes.emoji64.evaluate import Evaluation, Figures
from treg_exp.recipes.emoji64.nearest import SAME
from treg_exp.recipes.emoji64.samples import PAIRS, SHEET_PROMPTS, Sampling
from treg_exp.recipes.emoji64.sources import ALL_ARTWORKS, Artwork
from treg_exp.recipes.emoji64.trained import TrainedStages

_COMMAND = "treg-exp train-prior --stage figures"

_CARD = """\
# emoji64: a small text-to-image latent diffusion prior

A 64 x 64 text-to-image model in [diffusers](https://github.com/huggingface/diffusers) layout, trained on drawings of
the Unicode emoji set. It exists so that restoration with text can be tried, tested and compared within
seconds on a laptop. It is no general image model.
{student}
```python
from diffusers import StableDiffusionPipeline

pipe = StableDiffusionPipeline.from_pretrained("emoji64", safety_checker=None)
pipe(["red apple, fluent style"], guidance_scale={guidance}, num_inference_steps={steps}).images[0]
```

## Parts

| folder | what | conventions |
|---|---|---|
| `vae/` | autoencoder, 64 x 64 x 3 to 16 x 16 x 4 | pictures in [-1, 1]; `scaling_factor` in its config |
| `unet/` | denoiser, `{prediction}` | cross-attention on the text encoder's token embeddings |
| `text_encoder/`, `tokenizer/` | CLIP text model, 32 tokens | text feature: normalised `pooler_output`, no projection |
| `image_encoder/` | ConvNeXt, no part of the pipeline | normalised `pooler_output`; takes [-1, 1] as it is |
| `scheduler/` | DDIM, schedule of Stable Diffusion 1.5, `{prediction}` | scaled linear 0.00085 to 0.012, 1000 steps |

Text features, image features and token embeddings all have {width} dimensions. The text feature is the embedding of the
last token, so this one shares the space of the image features; the other tokens were never trained to.
Weights are averages over training, stored as float16.

## Data and licences

{pictures} pictures ({names} names) in three styles and {further} of the same things in four further styles, skin-tone
variants left out, laid on white, 64 x 64.

| style word | package on npm | drawings by | licence of the drawings |
|---|---|---|---|
{licences}

The model can reproduce these drawings closely. Pictures made with it in one of the styles should be treated as
derived from that style's drawings: keep the attribution above where its licence asks for it.

{held_out} single (name, style) pairs of the three styles were held out of all training, and with them the same artist's
drawing of the thing in a further style (`flat` is Fluent's, `blob` an older Noto). Each of their names was trained on
in the other styles. {test} of the pairs are the shipped test set (`../emoji_test`). Near-identical drawings of one
thing by two artists, or of related things in one style, remain on both sides.

## Training

{training}

Each row is the last sitting of a stage; `docs/results/prior.md` tells what came before it (about nine and a half hours
on two CPU cores in all, with the judge), and the expected curves.

## Figures

On held-out pictures, all made by `{command}`; in brackets 95 % bootstrap bounds of the
mean. Why a goal was missed, and the curves, are in `docs/results/prior.md`:

{figures}

Chance is {chance:.2%} (first) and {chance5:.2%} (first five). The judge is a second encoder that no training of this
prior and no guidance touches (`../judge`); CLIP's own score of samples stands beside it and flatters them, because the
denoiser reads its text tower. What an encoder finds on real pictures is its ceiling on samples. RMSE is in units of
[-1, 1]; below {same} two pictures are drawings of the same thing. The distances between sets are taken between the
features, unit vectors of the judge, of samples and of all held-out pictures; zero is equal.

By kind of thing, means:

{categories}

![samples](samples.png)

Samples, guidance {guidance:g}, {steps} DDIM steps, seeds 0 to 23, none picked out. Prompts row by row: {prompts}.

## What is copied

![samples beside the nearest training pictures](nearest.png)

Of {drawn} samples of held-out captions these 12 are the nearest to a training picture, which stands to the right of
each. {copied:.1%} of the samples are a drawing of the same thing as a training picture (RMSE below {same}); of the
held-out pictures themselves {also:.1%} are.

## Known failures

![the samples that the judge recognises least, beside the true drawings](failures.png)

The 12 samples whose right name the judge puts last, each to the left of the true drawing: {worst}.

{failures}
"""

_STUDENT = """
Its denoiser is a student: it was distilled (multistep consistency distillation, arXiv 2403.06807) from a denoiser that
takes {teacher_steps} DDIM steps with guidance {guidance_scale:g}, and is to be used with exactly {segments}
steps of the default spacing and without guidance, which is built in:
`solver.steps={segments} guidance=conditional guidance.scale=1.0`.
"""

#: Column -> what it is, how it is printed, and the goal that was set before the training, if any.
_FIGURES = {
    "autoencoder_psnr": ("autoencoder PSNR, dB", "{:.2f}", "28 or more"),
    "autoencoder_ssim": ("autoencoder SSIM", "{:.3f}", ".95 or more"),
    "autoencoder_lpips": ("autoencoder LPIPS (AlexNet)", "{:.4f}", ".03 or less"),
    "clip_top1": ("name of a picture found by CLIP, first", "{:.1%}", ""),
    "clip_top5": ("name of a picture found by CLIP, among the first five", "{:.1%}", "70 % or more"),
    "judge_top1": ("name of a picture found by the judge, first", "{:.1%}", ""),
    "judge_top5": ("name of a picture found by the judge, among the first five", "{:.1%}", "70 % or more"),
    "sample_judge_top1": (
        "name of a *sample* (guidance {guidance:g}, {steps} steps) found by the judge, first",
        "{:.1%}",
        "",
    ),
    "sample_judge_top5": ("name of a *sample* found by the judge, among the first five", "{:.1%}", "60 % or more"),
    "sample_clip_top1": ("name of a *sample* found by CLIP (flattering), first", "{:.1%}", ""),
    "sample_clip_top5": ("name of a *sample* found by CLIP (flattering), among the first five", "{:.1%}", ""),
    "nearest": ("RMSE of a held-out picture to the nearest training picture", "{:.3f}", ""),
    "sample_nearest": ("RMSE of a *sample* to the nearest training picture", "{:.3f}", ""),
    "sample_frechet": ("Frechet distance of samples to held-out pictures", "{:.3f}", ""),
    "sample_kernel": ("kernel distance of samples to held-out pictures", "{:.2e}", ""),
}
_CATEGORY_COLUMNS = ("autoencoder_psnr", "clip_top5", "judge_top5", "sample_judge_top5")

_FAILURES = (
    "The denoiser is trained too little: samples have the right colours and mostly the right kind of outline; faces,\n"
    "  hearts and flags look right, of most other things a name does not come to mind.",
    "Small parts (eyes, text, flag emblems) are lost by the denoiser, not by the autoencoder.",
    "Rare names are drawn as something of a similar kind; people with jobs look alike.",
    "Word order and counting are not understood; long free sentences are read as a bag of words.",
    "Words that never occur in emoji names carry no meaning: they fall into byte pieces.",
    "The background is always white.",
)


def model_card(
    corpus: Corpus, record: Mapping[str, Mapping[str, Any]], measured: Evaluation, prediction: str = "v_prediction"
) -> str:
    """The README of an exported prior.

    Args:
        corpus: pictures and split.
        record: what `training_record` told.
        measured: what `evaluate` returned.
        prediction: what the denoiser predicts.
    """
    figures, sampling = measured.figures(), sampling_of(record)
    student = record.get("unet", {}).get("student")
    return _CARD.format(
        width=128,
        student=_STUDENT.format(**student) if student else "",
        guidance=sampling.guidance,
        steps=sampling.steps,
        prediction=prediction,
        names=len(corpus.names),
        pictures=len(corpus.split.train) + len(corpus.split.held_out),
        held_out=len(corpus.split.held_out),
        test=len(corpus.split.test),
        further=len(corpus.split.further),
        licences=licence_table(),
        training=_training_table(record),
        command=_COMMAND,
        chance=1 / len(corpus.names),
        chance5=5 / len(corpus.names),
        same=SAME,
        drawn=len(measured.samples),
        copied=figures["sample_same"]["mean"],
        also=figures["same"]["mean"],
        prompts="; ".join(prompt or "(empty)" for prompt in SHEET_PROMPTS),
        worst="; ".join(corpus.pictures[measured.prompted[i]].sample_id for i in measured.worst(PAIRS)),
        failures="\n".join(f"- {failure}" for failure in _FAILURES),
        figures=_figure_table(figures, sampling),
        categories=_category_table(measured),
    )


def sampling_of(record: Mapping[str, Mapping[str, Any]]) -> Sampling:
    """How to draw samples of a prior: of a student in its own number of steps, without guidance.

    Args:
        record: what `training_record` told.
    """
    student = record.get("unet", {}).get("student")
    return Sampling(guidance=1.0, steps=student["segments"]) if student else Sampling()


def _figure_table(figures: Figures, sampling: Sampling) -> str:
    lines = ["| figure | value | goal | pictures |", "|---|---|---|---|"]
    for name, (label, form, goal) in _FIGURES.items():
        if name in figures:
            label = label.format(guidance=sampling.guidance, steps=sampling.steps)
            lines.append(f"| {label} | {with_bounds(figures[name], form)} | {goal} | {figures[name]['n']} |")
    return "\n".join(lines)


def with_bounds(figure: Mapping[str, Any], form: str) -> str:
    """A mean and its bounds in brackets, each printed by ``form``."""
    mean, low, high = (form.format(figure[key]) for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _category_table(measured: Evaluation) -> str:
    columns = [name for name in _CATEGORY_COLUMNS if name in measured.values]
    lines = [f"| kind | {' | '.join(columns)} | pictures | samples |", "|---" * (3 + len(columns)) + "|"]
    for category, figures in measured.by_category().items():
        cells = [_FIGURES[name][1].format(figures[name]["mean"]) if name in figures else "" for name in columns]
        counts = [str(figures[name]["n"]) if name in figures else "0" for name in ("nearest", "sample_nearest")]
        lines.append(f"| {category} | {' | '.join([*cells, *counts])} |")
    return "\n".join(lines)


def licence_table(artworks: Sequence[Artwork] = ALL_ARTWORKS) -> str:
    """Rows of a Markdown table, one per artwork."""
    return "\n".join(f"| `{a.style} style` | {a.package} {a.version} | {a.credit} | {a.licence} |" for a in artworks)


def training_record(stages: TrainedStages) -> dict[str, dict[str, Any]]:
    """What the last sitting of each stage took: in its folder, else as the prior that was started from tells.

    Args:
        stages: that were exported.

    Returns:
        Stage -> ``steps``, ``minutes``, ``batch``, ``rate``, ``seed`` and ``figures``, those of the last validation;
        of a student also ``student``, what it was distilled with.
    """
    record: dict[str, dict[str, Any]] = {}
    if stages.prior and (stages.prior / "figures.json").is_file():
        record = read_json(stages.prior / "figures.json").get("training", {})
    for stage in ("autoencoder", "clip", "unet"):
        folder = stages.folder(stages.denoiser_in if stage == "unet" else stage)
        if rows := folder.figures():
            settings, last = folder.settings(), rows[-1]
            record[stage] = {
                "steps": int(last.pop("step")),
                "minutes": round(last.pop("minutes"), 2),
                "batch": settings["data"]["batch_size"],
                "rate": settings["optimizer"]["rate"],
                "seed": settings["seed"],
                "figures": {name: float(f"{value:.6g}") for name, value in last.items()},
            }
            if stage == "unet" and "segments" in (objective := settings["objective"]):
                told = ("segments", "teacher_steps", "guidance_scale")
                record[stage]["student"] = {name: objective[name] for name in told}
    return record


def _training_table(record: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| stage | steps | minutes | batch | peak rate | seed | last row of its metrics |", "|---" * 7 + "|"]
    for stage, row in record.items():
        rest = ", ".join(f"{name} {value:g}" for name, value in row["figures"].items())
        cells = (stage, row["steps"], row["minutes"], row["batch"], f"{row['rate']:g}", row["seed"], rest)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
