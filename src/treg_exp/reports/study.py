"""Does what TReg's paper claims hold on the runs of a study? Tables, paired differences and verdicts as Markdown."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from treg_exp.files import read_json
from treg_exp.metrics.column import Columns
from treg_exp.reports.columns import POSTERIOR, read_columns, variant_label
from treg_exp.reports.markdown import line, number
from treg_exp.reports.summary import paired, per_image, statistics
from treg_exp.run_layout import RECONSTRUCTION, TARGET, Row, RunLayout, key_of, picture, read_rows
from treg_exp.signals.image import ImageMedium

#: Columns of the tables and of the paired differences, where a run has them.
SHOWN = (
    *("psnr", "ssim", "lpips", "residual_before", "residual", "judge_own", "judge_counterfactual", "seconds", "nfe"),
    *POSTERIOR,
)
DIFFERENCES = (
    *("psnr", "ssim", "lpips", "residual_before", "residual", "judge_own", "judge_counterfactual"),
    *("posterior_std", "upright"),
)

# A residual counts as "low" only if it is so by itself and beside the one of the own caption.
LOW_RESIDUAL = 2.0  # sigma; that of the true image is 1
ALLOWED_RISE = 0.1  # relative to the other variant

_NOTE = """\
Means over images with 95 % bootstrap intervals. *Judge* is the cosine between picture and the name of a thing by an
encoder that guidance never sees (*own*: what the image shows, *other*: the thing of its counterfactual caption),
*residual* is RMSE(y - Ax) / sigma (*residual before*: before the last projection, which brings any picture near the
measurement), *NFE* counts network evaluations per image, both branches of guidance. *Std of draws* is the standard
deviation over the draws of an image, in [-1, 1] units; *upright* the share of restorations that are nearer to the
target than to it turned by 180 degrees. A claim holds where the interval of its difference lies on its side of 0,
fails where it lies on the other, and is open where it contains 0; that of a low residual looks at two intervals. Of
many such intervals one in twenty misses by chance. *Random caption* (of another image in the same style) and *style
word* (without any thing) are controls: what they do as well as the own text, the right text has not done.
*Counterfactual text - own text* in *judge other* says whether a text turns the picture."""


@dataclass(frozen=True)
class Study:
    """The runs below one folder: ``<folder>/<setting>/<run>/``.

    Attributes:
        runs: (setting, task) -> rows by variant.
        machines: revision and machine -> the settings that were run with them.
        columns: what the numbers of all runs mean.
    """

    runs: Mapping[tuple[str, str], Mapping[str, list[Row]]]
    machines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as a comparison of two variants.

    Attributes:
        text: the sentence.
        column: what is compared.
        variant: whose number.
        against: with whose.
        sign: +1 where the claim is that the number rises, -1 where it falls, 0 where it, a residual, stays low.
    """

    text: str
    column: str
    variant: str
    against: str
    sign: int


CLAIMS = (
    Claim("Text lowers the variance of the draws.", "posterior_std", "own", "no_text", -1),
    Claim("Negation raises the alignment with the text.", "judge_own", "negation", "own", +1),
    Claim("Negation lowers PSNR.", "psnr", "negation", "own", -1),
    Claim("Text raises PSNR.", "psnr", "own", "no_text", +1),
    Claim("Text lowers LPIPS.", "lpips", "own", "no_text", -1),
    Claim("Text raises the alignment with it.", "judge_own", "own", "no_text", +1),
    Claim("A counterfactual caption turns the image to it.", "judge_counterfactual", "counterfactual", "own", +1),
    Claim("A counterfactual caption keeps the residual low.", "residual", "counterfactual", "own", 0),
    Claim("In phase retrieval text finds the orientation.", "upright", "own", "no_text", +1),
)

#: (variant, against) of the tables of paired differences: what each text does, and how texts and controls differ.
AGAINST_NO_TEXT = tuple((name, "no_text") for name in ("own", "counterfactual", "random_caption", "style_word"))
AMONG_TEXTS = (
    ("own", "random_caption"), ("own", "style_word"), ("counterfactual", "own"), ("negation", "own"),
)  # fmt: skip


def read_study(folder: str | Path) -> Study:
    """Read every finished run below a folder.

    Args:
        folder: holds one folder per setting, and that one folder per run, as multiruns make them.

    Raises:
        ValueError: no runs are there, or two of a setting have the same task.
    """
    runs: dict[tuple[str, str], dict[str, list[Row]]] = {}
    machines: dict[str, dict[str, None]] = {}  # a setting once, in order
    columns = Columns()
    for layout in map(RunLayout, sorted(Path(folder).glob("*/*"))):
        if not layout.config.is_file():
            continue
        run = layout.path
        task, setting = str(OmegaConf.load(layout.config).task.name), run.parent.name
        if (setting, task) in runs:
            raise ValueError(f"{folder}/{setting} holds two runs of {task}; give the second one its own folder")
        state = read_json(layout.status).get("state")
        if state != "finished":
            print(f"left out: {run} is not finished ({state})")
            continue
        rows = _with_posterior(read_rows(run), layout.posterior)
        columns = columns.with_more(read_columns(run).known)
        if "phase_retrieval" in task:
            rows = [row | {"upright": _upright(layout, row)} for row in rows]
        by_variant: dict[str, list[Row]] = {}
        for row in rows:
            by_variant.setdefault(row["variant"], []).append(row)
        if by_variant:
            runs[setting, task] = by_variant
            machines.setdefault(_machine(layout.environment), {})[setting] = None
    if not runs:
        raise ValueError(f"{folder} holds no runs; expected are {folder}/<setting>/<run>/rows")
    return Study(runs, {machine: tuple(settings) for machine, settings in machines.items()}, columns)


def render_study(study: Study, title: str, command: str, note: str = "") -> str:
    """The report.

    Args:
        study: see `read_study`.
        title: heading.
        command: how the runs were made.
        note: what a reader should know about them.
    """
    lines = [f"# {title}", "", "Made by", "", f"    {command}", ""]
    machines = [f"- {', '.join(f'*{s}*' for s in settings)}: {told}" for told, settings in study.machines.items()]
    lines += [*([note, ""] if note else []), *machines, "", _NOTE, "", "## Verdicts", ""]
    lines += [line for claim in CLAIMS for line in _verdict(study, claim)]
    for heading, pairs in (("Texts against no text", AGAINST_NO_TEXT), ("Texts against each other", AMONG_TEXTS)):
        lines += ["", f"## {heading}: paired differences", "", *_differences(study, pairs)]
    for (setting, task), variants in study.runs.items():
        lines += ["", f"## {task}, {setting}", "", *_table(variants, study.columns)]
    return "\n".join(lines) + "\n"


def _verdict(study: Study, claim: Claim) -> list[str]:
    """A count of the verdicts, and one bullet per run that speaks about a claim."""
    found, verdicts = [], []
    for (setting, task), variants in study.runs.items():
        rows, others = variants.get(claim.variant, []), variants.get(claim.against, [])
        difference = paired(rows, others, claim.column)
        if difference is None or difference["low"] is None:
            continue
        verdict = _judged(claim, difference, rows, others, study.columns)
        verdicts.append(verdict.partition(",")[0])
        found.append(f"  - {task}, {setting}: {verdict} ({_interval(difference, claim.column, study.columns)})")
    counts = [f"{word} in {verdicts.count(word)}" for word in ("holds", "fails", "open") if word in verdicts]
    told = f"{', '.join(counts)} of {len(found)} runs".capitalize() if found else "Open: no run measures it"
    compared = f"{variant_label(claim.variant)} - {variant_label(claim.against)}: {study.columns[claim.column].line}"
    return [f"- **{claim.text}** {told}. *{' '.join(compared.split())}.*", *found]


def _judged(
    claim: Claim, difference: Mapping[str, Any], rows: Sequence[Row], others: Sequence[Row], columns: Columns
) -> str:
    if claim.sign == 0:
        return _judged_low(claim, difference, rows, others, columns)
    low, high = sorted((claim.sign * difference["low"], claim.sign * difference["high"]))
    return "holds" if low > 0 else "fails, it is the other way" if high < 0 else "open"


def _judged_low(
    claim: Claim, rise: Mapping[str, Any], rows: Sequence[Row], others: Sequence[Row], columns: Columns
) -> str:
    """Whether a residual is low by itself and rises little; one of the two is enough to fail."""
    itself: Mapping[str, Any] = statistics(per_image(rows, claim.column))
    paired_ids = {row["sample_id"] for row in rows}
    other = per_image([row for row in others if row["sample_id"] in paired_ids], claim.column)
    limit = ALLOWED_RISE * sum(other) / len(other)
    if itself["low"] > LOW_RESIDUAL:
        return f"fails, is {_interval(itself, claim.column, columns)} and not below {LOW_RESIDUAL:g}"
    if rise["low"] > limit:
        return f"fails, rises by more than {ALLOWED_RISE:.0%}"
    if itself["high"] <= LOW_RESIDUAL and rise["high"] < limit:
        return f"holds, below {LOW_RESIDUAL:g} and rises by less than {ALLOWED_RISE:.0%}"
    return "open"


def _differences(study: Study, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A table of pairs (variant, against), in every run that has both."""
    names = [n for n in DIFFERENCES if any(per_image(r, n) for v in study.runs.values() for r in v.values())]
    lines = [
        line(["task", "setting", "difference", *(study.columns[name].heading for name in names)]),
        "|---" * (3 + len(names)) + "|",
    ]
    for (setting, task), variants in study.runs.items():
        for variant, against in pairs:
            if variant in variants and against in variants:
                cells = [paired(variants[variant], variants[against], name) for name in names]
                label = f"{variant_label(variant)} - {variant_label(against)}"
                shown = [
                    _interval(cell, name, study.columns) if cell else ""
                    for cell, name in zip(cells, names, strict=True)
                ]
                lines.append(line([task, setting, label, *shown]))
    return lines


def _table(variants: Mapping[str, Sequence[Row]], columns: Columns) -> list[str]:
    names = [name for name in SHOWN if any(per_image(rows, name) for rows in variants.values())]
    lines = [line(["variant", "n", *(columns[name].heading for name in names)]), "|---" * (2 + len(names)) + "|"]
    for variant, rows in variants.items():
        count = str(len({row["sample_id"] for row in rows}))
        values = [per_image(rows, name) for name in names]
        shown = [_interval(statistics(v), name, columns) if v else "" for v, name in zip(values, names, strict=True)]
        lines.append(line([variant_label(variant), count, *shown]))
    return lines


def _interval(value: Mapping[str, Any], name: str, columns: Columns) -> str:
    digits = columns[name].digits
    mean, low, high = (None if value[key] is None else number(value[key], digits) for key in ("mean", "low", "high"))
    if low is None or columns[name].summary != "mean":
        return str(mean)  # of costs
    return f"{mean} [{low}, {high}]"


def _machine(file: Path) -> str:
    """Revision, version of torch and hardware of a run."""
    if not file.is_file():
        return "revision and machine are not known."
    told = read_json(file)
    where = (
        ", ".join(told["gpus"]) or f"{told['torch_threads']} thread(s) of {told['cpu_count']} CPU cores, without a GPU"
    )
    return f"revision {str(told['git'])[:7]}, torch {told['packages']['torch']}, {where}."


def _with_posterior(rows: list[Row], file: Path) -> list[Row]:
    """Rows with the numbers that belong to all draws of an image."""
    if not file.is_file():
        return rows
    with file.open() as handle:
        table = {(row["sample_id"], row["variant"]): row for row in csv.DictReader(handle)}
    numbers = {key: {name: float(row[name]) for name in POSTERIOR if row[name]} for key, row in table.items()}
    return [row | numbers.get((row["sample_id"], row["variant"]), {}) for row in rows]


def _upright(layout: RunLayout, row: Row) -> float | None:
    """1 where a restoration is more like its target than like the target turned by 180 degrees, else 0.

    The modulus of a Fourier transform is the same for both, so a measurement cannot tell them apart.
    """
    restored, sample = layout.found(key_of(row)), layout.sample(row["sample_id"])
    if not (picture(restored, RECONSTRUCTION).is_file() and picture(sample, TARGET).is_file()):
        return None
    image, target = ImageMedium().load(restored / RECONSTRUCTION), ImageMedium().load(sample / TARGET)
    return float((image - target).square().sum() < (image - target.flip(-1, -2)).square().sum())
