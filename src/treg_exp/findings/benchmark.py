"""The table of ``experiment=benchmark/solvers`` as Markdown: what each method reaches on each task, at what cost.

Unlike a report of any runs, it refuses runs whose measurements are not the same: a benchmark must not pass over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from treg_exp.errors import ConfigError
from treg_exp.findings.collection import Run, collect
from treg_exp.findings.effects import Effect, effects
from treg_exp.findings.methods import Method, all_columns, methods
from treg_exp.findings.pairing import Pairing, baseline_of, pairings
from treg_exp.findings.provenance import said
from treg_exp.findings.tables import signed, verdict
from treg_exp.metrics.column import Columns
from treg_exp.reports.markdown import line, number

COMPARED = ("psnr", "ssim", "lpips", "judge_own")  # what a method is better or worse in
SHOWN = (*COMPARED, "residual", "nfe", "nfe_backward", "encodes", "decodes", "seconds", "peak_memory")
VERDICTS = ("better", "open", "worse")
LEGEND = """\
Counts are tasks in which a method is better or worse than the baseline with a corrected p of at most 0.05, or
neither. Differences are means over images, paired, with 95 % bootstrap intervals, and the share of images on which the
method is better. Bold: p of a paired permutation test is at most 0.05 after Benjamini and Hochberg's correction for all
differences on this page."""


@dataclass(frozen=True)
class Contest:
    """Methods that restored the same measurements.

    Attributes:
        compared: all of them, by task: first the baseline, then the others by name.
        pairs: each with the baseline of its task.
        columns: what their numbers mean.
        runs: where they come from.
        skipped: folders that were left out, and why.
    """

    compared: Sequence[Method]
    pairs: Sequence[Pairing]
    columns: Columns
    runs: Sequence[Run]
    skipped: Sequence[str]


def read_contest(folders: Sequence[Path], baseline: str) -> Contest:
    """What these folders hold.

    Args:
        folders: runs and sweeps.
        baseline: the method that the others are compared with.

    Raises:
        ConfigError: no such method, a folder without runs, or two methods had other measurements of an image.
    """
    collected = collect(folders)
    found = methods(collected.runs)
    baselines, tasks = baseline_of(found, baseline), sorted({method.task for method in found})
    compared = sorted(found, key=lambda each: (each.task, each is not baselines.get(each.task), each.name.casefold()))
    pairs = pairings(compared, baselines)
    for task in tasks:
        _check_same([method for method in compared if method.task == task])
    return Contest(compared, pairs, all_columns(collected.runs), collected.runs, collected.skipped)


def page(contest: Contest) -> str:
    """Its tables: in how many tasks each method is better than the baseline, then every task by itself."""
    columns = contest.columns
    found = effects(contest.pairs, [name for name in COMPARED if name in columns.known], columns)
    shares = [f"- {sentence}" for sentence in said(contest.runs, contest.pairs)]
    parts = ["## In all tasks", "", *_overview(found, columns), "", LEGEND, "", *shares]
    for task in dict.fromkeys(method.task for method in contest.compared):
        own = [effect for effect in found if effect.method.task == task]
        rows = [method for method in contest.compared if method.task == task]
        parts += ["", f"## {task}", "", *_means(rows, columns), "", *_differences(own, columns)]
    return "\n".join(parts) + "\n"


def _check_same(compared: Sequence[Method]) -> None:
    """Raise ConfigError unless all methods of a task have restored an image from one and the same measurement."""
    task = compared[0].task
    first: dict[str, tuple[str, set[str]]] = {}
    for method in compared:
        for image, hashes in method.measurements.items():
            if "" in hashes:
                raise ConfigError(f"{task}: {method.name} has rows without a hash of their measurement; make it anew")
            name, known = first.setdefault(image, (method.name, hashes))
            if len(known | hashes) > 1:
                raise ConfigError(
                    f"{task}: {method.name} and {name} had other measurements of {image}; give runs with the same "
                    "task, task.seed and data, made on one kind of machine: another may round differently"
                )


def _overview(found: Sequence[Effect], columns: Columns) -> list[str]:
    """In how many tasks each method is better than the baseline, by the corrected p."""
    metrics = list(dict.fromkeys(effect.metric for effect in found))
    head = [f"{columns[name].line}: {' / '.join(VERDICTS)}" for name in metrics]
    lines = [line(["method", "tasks", *head]), "|---" * (2 + len(metrics)) + "|"]
    for name in dict.fromkeys(effect.method.name for effect in found):
        own = [effect for effect in found if effect.method.name == name]
        cells = []
        for metric in metrics:
            verdicts = [verdict(effect, columns) for effect in own if effect.metric == metric]
            counts = {each: verdicts.count(each) for each in VERDICTS}
            counts["open"] += verdicts.count("same")
            cells.append(" / ".join(map(str, counts.values())))
        lines.append(line([name, str(len({effect.method.task for effect in own})), *cells]))
    return lines


def _means(compared: Sequence[Method], columns: Columns) -> list[str]:
    shown = [name for name in SHOWN if any(method.statistics(name) for method in compared)]
    lines = [line(["method", "n", *(columns[name].heading for name in shown)]), "|---" * (2 + len(shown)) + "|"]
    for method in compared:
        cells = []
        for name in shown:
            value = method.statistics(name)
            cells.append(number(value["mean"], columns[name].digits) if value else "")
        lines.append(line([method.name, str(len(method.images)), *cells]))
    return lines


def _differences(found: Sequence[Effect], columns: Columns) -> list[str]:
    """Differences from the baseline with intervals and win rates; bold where the corrected p is low."""
    if not found:
        return []
    metrics = list(dict.fromkeys(effect.metric for effect in found))
    head = [f"{columns[name].heading} (better on)" for name in metrics]
    lines = [line([f"less {found[0].baseline.name}", *head]), "|---" * (1 + len(metrics)) + "|"]
    for method in dict.fromkeys(effect.method for effect in found):
        by_metric = {effect.metric: effect for effect in found if effect.method is method}
        cells = [_cell(by_metric[name], columns) if name in by_metric else "" for name in metrics]
        lines.append(line([method.name, *cells]))
    return lines


def _cell(effect: Effect, columns: Columns) -> str:
    told = signed(effect.mean, effect.low, effect.high, columns[effect.metric].digits)
    if verdict(effect, columns) in ("better", "worse"):
        told = f"**{told}**"
    if effect.wins is None or effect.low == effect.high == 0:  # nothing to win
        return told
    return f"{told} ({100 * effect.wins:.0f} %)"
