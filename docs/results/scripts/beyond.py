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


def table(runs: dict[str, dict[str, list[Row]]]) -> list[str]:
    """A line per rule, the same columns for each task: means of the reference, differences of all others from it."""
    heads = [f"{task}: {name}" for task in runs for name in ("PSNR (dB)", "LPIPS", "judge, own", "turn")]
    lines = [f"| rule | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for rule in rules(next(iter(runs.values()))):
        cells = []
        for variants in runs.values():
            turned = {name: turns(variants, name) for name in (rule, REFERENCE)}
            if rule == REFERENCE:
                cells += [f"{mean(variants[rule], name):.{digits}f}" for name, digits in NUMBERS]
                cells += [shown(statistics(list(by_image(turned[rule], "turn").values())), 3)]
            else:
                of = variants[rule], variants[REFERENCE]
                cells += [shown(paired(*of, name), digits) for name, digits in NUMBERS]
                cells += [shown(paired(turned[rule], turned[REFERENCE], "turn"), 3)]
        lines.append(f"| `{rule}` | {' | '.join(cells)} |")
    return lines


def report(study: Study) -> None:
    """One table of best/beyond against TReg on all tasks, and one per task of the rules and of the knob."""
    print("| task | PSNR (dB) | LPIPS | judge, own | turn of TReg | turn of beyond | difference | residuals | s |")
    print("|---" * 9 + "|")
    for (setting, task), ours in study.runs.items():
        if setting == "beyond" and (theirs := study.runs.get(("treg", task))):
            print(headline(task, dict(theirs), dict(ours)))
    for setting in ("rules", "knob"):
        runs = {task: dict(of) for (name, task), of in study.runs.items() if name == setting}
        if runs:
            print(f"\n{setting}\n\n" + "\n".join(table(runs)))
            worst = max(row["residual"] for of in runs.values() for rows in of.values() for row in rows)
            print(f"\nlargest residual: {worst:.2f}")


def headline(task: str, theirs: dict[str, list[Row]], ours: dict[str, list[Row]]) -> str:
    """A line of the first table: means of TReg, and differences of best/beyond from it."""
    cells = [
        f"{mean(theirs[REFERENCE], name):.{digits}f}, {shown(paired(ours[REFERENCE], theirs[REFERENCE], name), digits)}"
        for name, digits in NUMBERS
    ]
    both = [turns(of, REFERENCE) for of in (theirs, ours)]
    cells += [shown(statistics(list(by_image(of, "turn").values())), 3) for of in both]
    cells += [shown(paired(both[1], both[0], "turn"), 3)]
    cells += [", ".join(f"{mean(of[name], 'residual'):.2f}" for of in (theirs, ours) for name in (REFERENCE, OTHER))]
    cells += [", ".join(f"{mean(of[REFERENCE], 'seconds'):.1f}" for of in (theirs, ours))]
    return f"| `{task}` | {' | '.join(cells)} |"


def weight(variant: str) -> str:
    """How much text counts in a variant of study/knob: w05 -> 0.5."""
    digits = variant.removeprefix("w")
    return "1" if variant == REFERENCE else f"0.{digits[1:]}" if digits.startswith("0") and digits != "0" else digits


def draw_front(study: Study, setting: str = "knob") -> None:
    """How far the counterfactual caption turns the picture, against PSNR with the own one, by weight of the text."""
    runs = {task: of for (name, task), of in study.runs.items() if name == setting}
    figure, axes = plt.subplots(1, len(runs), figsize=(3.2 * len(runs), 3.0), layout="constrained", squeeze=False)
    for axis, (task, variants) in zip(axes[0], runs.items(), strict=True):
        names = sorted(rules(variants), key=lambda name: float(weight(name)))
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
        axis.set(xscale="log", xlabel="steps (two evaluations each)", title=heading)
        axis.set_xticks([8, 12, 24, 50, 100, 200], ["8", "12", "24", "50", "100", "200"])
        axis.minorticks_off()
    axes[0].legend(fontsize=8)
    figure.savefig(ASSETS / "beyond_steps.png", dpi=160)


def draw_pictures(folder: Path, study: Study, wins: int = 1, losses: int = 1) -> None:
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
