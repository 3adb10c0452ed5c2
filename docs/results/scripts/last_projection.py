"""What TReg's last projection would do for other methods: their saved pictures, projected, on the same measurements.

    python docs/results/scripts/last_projection.py runs/solvers

One run per line: PSNR and LPIPS as restored and after the projection, and the difference of the latter from TReg. Saved
pictures are rounded to 8 bits, an error of 59 dB: it changes 0.01 dB at 33 dB, and less below.
"""

import sys
from pathlib import Path
from statistics import fmean

import torch
from omegaconf import OmegaConf

from treg_exp.data.pictures import read_rgb, to_tensor
from treg_exp.experiment import Experiment
from treg_exp.metrics.fidelity import psnr
from treg_exp.metrics.networks.lpips import load_lpips
from treg_exp.operators.discrepancy import rmse
from treg_exp.reports.summary import paired
from treg_exp.run_layout import RECONSTRUCTION, RunLayout, key_of, picture, read_rows
from treg_exp.solvers.last_projection import LastProjection


def projected(folder: Path) -> list[dict]:
    """A row for each picture of a run: PSNR, LPIPS and residual in sigma after TReg's last projection."""
    experiment, project, found = Experiment.from_config(OmegaConf.load(folder / "config.yaml")), LastProjection(), []
    places, distance = {sample: i for i, sample in enumerate(experiment.source.ids)}, load_lpips()
    for row in read_rows(folder):
        sample = experiment.source[places[row["sample_id"]]]
        problem = experiment.task.pose([sample], experiment.signal_shape, torch.device("cpu"))
        assert problem.fingerprint(0) == row["measurement"], "another measurement than that of the run"
        saved = to_tensor(read_rgb(picture(RunLayout(folder).restoration(key_of(row), 1), RECONSTRUCTION)))[None]
        x = project(problem, saved)
        target = sample.target[None]
        residual = rmse(problem.operator, problem.y, x) / problem.sigma
        with torch.no_grad():
            values = {"psnr": psnr(x, target), "lpips": distance(x, target.float()), "residual": residual}
        found.append({"sample_id": row["sample_id"], **{name: float(value) for name, value in values.items()}})
    return found


def mean(rows: list[dict], name: str) -> float:
    """Of a column."""
    return fmean(row[name] for row in rows)


runs: dict[tuple[str, str], tuple[list[dict], list[dict]]] = {}
for file in sorted(Path(sys.argv[1]).glob("*/config.yaml")):
    config = OmegaConf.load(file)
    runs[config.task.name, config.method] = list(read_rows(file.parent)), projected(file.parent)
for (task, method), (before, after) in sorted(runs.items()):
    columns = []
    for name in ("psnr", "lpips"):
        less = paired(after, runs[task, "TReg"][0], name)
        columns += [f"{mean(before, name):.3f} -> {mean(after, name):.3f}"]
        columns += [f"{less['mean']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]"]
    print("|", task, "|", method, "|", " | ".join(columns), f"| {mean(after, 'residual'):.2f} |", flush=True)
