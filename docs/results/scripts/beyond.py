"""Tables and pictures of docs/results/beyond.md from the runs of `make beyond`.

    python docs/results/scripts/beyond.py runs/beyond

Of every rule X there are two variants, X with the own caption and X_cf with the counterfactual one; `own` and
`counterfactual` are those of the reference. The turn of a rule is what the counterfactual caption gains on the other
thing minus on the own one.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from omegaconf import OmegaConf

from treg_exp.files import write_bytes
from treg_exp.reports.columns import read_columns
from treg_exp.reports.grid import compose, input_panels, restored
from treg_exp.reports.study import Study, read_study
from treg_exp.reports.summary import by_image, paired, statistics
from treg_exp.run_layout import MEASUREMENT, TARGET, Row, RunLayout
from treg_exp.signals.base import png

ASSETS = Path(__file__).parents[2] / "assets"
REFERENCE, OTHER, SUFFIX = "own", "counterfactual", "_cf"
REFERENCES = {"beyond": "treg"}  # setting -> the one with its reference; others have their own
NUMBERS = (("psnr", 2), ("lpips", 3), ("judge_own", 3))


def other(rule: str) -> str:
    """The variant of a rule with the counterfactual caption."""
    return OTHER if rule == REFERENCE else f"{rule}{SUFFIX}"


def rules(variants: dict[str, list[Row]]) -> list[str]:
    """Names of the rules that were run with both captions, in order."""
    return [name for name in variants if other(name) in variants and name != OTHER]


def turns(variants: dict[str, list[Row]], rule: str) -> list[Row]:
    """One row per image: (other thing - own thing) under the counterfactual caption, minus that under the own one."""
    leanings = []
    for variant in (other(rule), rule):
        thing, own = (by_image(variants[variant], f"judge_{name}") for name in ("counterfactual", "own"))
        leanings.append({sample: thing[sample] - own[sample] for sample in thing if sample in own})
    turned, kept = leanings
    return [{"sample_id": sample, "turn": turned[sample] - kept[sample]} for sample in turned if sample in kept]


def shown(found: dict | None, digits: int, sign: str = "+") -> str:
    """Mean and interval; bold where the interval is on one side of zero."""
    if found is None:
        return ""
    text = f"{found['mean']:{sign}.{digits}f} [{found['low']:{sign}.{digits}f}, {found['high']:{sign}.{digits}f}]"
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def mean(rows: list[Row], name: str) -> float:
    """Of all images."""
    values = by_image(rows, name).values()
    return sum(values) / len(values)


def table(variants: dict[str, list[Row]], reference: dict[str, list[Row]]) -> list[str]:
    """A line per rule: the means of the reference, and the differences of all others from it."""
    lines = [
        "| rule | PSNR (dB) | LPIPS | judge, own | turn | turn, difference | residual, before | s |",
        "|---" * 8 + "|",
    ]
    for rule in rules(variants):
        rows = variants[rule]
        if variants is reference and rule == REFERENCE:
            cells = [f"{mean(rows, name):.{digits}f}" for name, digits in NUMBERS]
            versus = ""
        else:
            cells = [shown(paired(rows, reference[REFERENCE], name), digits) for name, digits in NUMBERS]
            versus = shown(paired(turns(variants, rule), turns(reference, REFERENCE), "turn"), 3)
        turn = statistics(list(by_image(turns(variants, rule), "turn").values()))
        residuals = ", ".join(f"{mean(variants[v], 'residual'):.2f}" for v in (rule, other(rule)))
        before = mean(rows, "residual_before") if by_image(rows, "residual_before") else mean(rows, "residual")
        cells += [shown(turn, 3), versus, f"{residuals} ({before:.1f})", f"{mean(rows, 'seconds'):.1f}"]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return lines


def report(study: Study) -> None:
    """The tables of all settings but the steps', each against its reference on the same task."""
    for (setting, task), variants in study.runs.items():
        reference = study.runs.get((REFERENCES.get(setting, setting), task))
        if setting.startswith("steps") or reference is None:
            continue
        count = len({row["sample_id"] for row in variants[REFERENCE]})
        print(f"\n### {task}, {setting}, {count} pictures\n")
        print("\n".join(table(dict(variants), dict(reference))))


def weight(variant: str) -> str:
    """How much text counts in a variant of study/knob: w05 -> 0.5."""
    digits = variant.removeprefix("w")
    return "1" if variant == REFERENCE else f"0.{digits[1:]}" if digits.startswith("0") and digits != "0" else digits


def draw_front(study: Study, setting: str = "knob") -> None:
    """How far the counterfactual caption turns the picture, against PSNR with the own one, by weight of the text."""
    runs = {task: of for (name, task), of in study.runs.items() if name == setting}
    figure, axes = plt.subplots(1, len(runs), figsize=(3.2 * len(runs), 3.0), layout="constrained", squeeze=False)
    for axis, (task, variants) in zip(axes[0], runs.items(), strict=True):
        names = rules(variants)
        found = [statistics(list(by_image(turns(variants, name), "turn").values())) for name in names]
        x = [mean(variants[name], "psnr") for name in names]
        y = [one["mean"] for one in found]
        bars = [[one["mean"] - one["low"] for one in found], [one["high"] - one["mean"] for one in found]]
        axis.errorbar(x, y, bars, marker="o", capsize=2, color="#1f77b4")
        for name, at_x, at_y in zip(names, x, y, strict=True):
            axis.annotate(weight(name), (at_x, at_y), textcoords="offset points", xytext=(5, 4), fontsize=8)
        axis.axhline(0, color="#999999", linewidth=0.8)
        axis.set(title=task.replace("_", " "), xlabel="PSNR with the own caption (dB)")
    axes[0][0].set_ylabel("turn (judge)")
    figure.savefig(ASSETS / "beyond_front.png", dpi=160)


def draw_steps(study: Study) -> None:
    """PSNR, LPIPS and judge against seconds, one line per task and kind of run."""
    runs: dict[tuple[str, str], list[tuple[int, list[Row]]]] = {}
    for (setting, task), variants in study.runs.items():
        if setting.startswith("steps"):
            kind, _, steps = setting.rpartition("_")
            runs.setdefault((task, kind), []).append((int(steps), variants[REFERENCE]))
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    headings = {
        "psnr": "PSNR (dB), more is better",
        "lpips": "LPIPS, less is better",
        "judge_own": "judge, more is better",
    }
    for axis, (name, heading) in zip(axes, headings.items(), strict=True):
        for (task, kind), of in runs.items():
            of = sorted(of, key=lambda pair: pair[0])
            found = [statistics(list(by_image(rows, name).values())) for _, rows in of]
            label = task.replace("_", " ") + kind.removeprefix("steps").replace("_", ", ")
            axis.plot([steps for steps, _ in of], [one["mean"] for one in found], marker="o", label=label)
        axis.set(xscale="log", xlabel="steps", title=heading)
        axis.set_xticks([8, 12, 24, 50, 100, 200], ["8", "12", "24", "50", "100", "200"])
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    figure.savefig(ASSETS / "beyond_steps.png", dpi=160)


def draw_pictures(folder: Path, study: Study, wins: int = 2, losses: int = 1) -> None:
    """What best/beyond turns furthest beyond TReg, and what it turns least, with both captions."""
    headings = ["target", "measurement", "TReg", "beyond", "TReg", "beyond"]
    panels, titles = [], []
    for (setting, task), ours in study.runs.items():
        theirs = study.runs.get((REFERENCES.get(setting, setting), task))
        if setting != "beyond" or theirs is None:
            continue
        runs = [(run_of(folder / name, task), dict(of)) for name, of in (("treg", theirs), ("beyond", ours))]
        old, new = (by_image(turns(of, REFERENCE), "turn") for _, of in runs)
        order = sorted(new, key=lambda sample: old[sample] - new[sample])
        for sample in [*order[:wins], *order[len(order) - losses :]]:
            panels.append(input_panels(runs[0][0], sample, (TARGET, MEASUREMENT)))
            for variant in (REFERENCE, OTHER):
                for layout, of in runs:
                    rows = {name: [row for row in each if row["sample_id"] == sample] for name, each in of.items()}
                    panels[-1].append(restored(layout, sample, variant, rows, read_columns(layout.path)))
            titles.append(f"{task}: turn {old[sample]:+.2f} of TReg, {new[sample]:+.2f} beyond")
    write_bytes(ASSETS / "beyond_pictures.png", png(compose(panels, headings, 2, "", titles), optimize=True))


def run_of(folder: Path, task: str) -> RunLayout:
    """The run of a task below the folder of a setting."""
    layouts = [RunLayout(run) for run in sorted(folder.iterdir())]
    return next(layout for layout in layouts if str(OmegaConf.load(layout.config).task.name) == task)


if __name__ == "__main__":
    found = read_study(sys.argv[1])
    report(found)
    settings = {setting for setting, _ in found.runs}
    if "knob" in settings:
        draw_front(found)
    if any(setting.startswith("steps") for setting in settings):
        draw_steps(found)
    if {"beyond", "treg"} <= settings:
        draw_pictures(Path(sys.argv[1]), found)
