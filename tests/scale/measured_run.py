"""Runs COUNT restorations into FOLDER and prints seconds by phase and the peak of the memory in MB, as JSON."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

OVERRIDES = [
    "experiment=single", "task=sr_average", "task.operator.factor=2", "prompt=empty", "null_text=off",
    "metrics=residual", "logger=csv",
]  # fmt: skip
GROUPS = {
    "data": {"_target_": "scale_lab.ManySamples", "limit": None, "offset": 0, "batch_size": 64, "image_size": None},
    "prior": {"_target_": "scale_lab.NoPrior"},
    "solver": {"_target_": "scale_lab.Adjoint"},
}


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int, folder: Path) -> None:
    os.environ["TREG_EXP_PACKAGES"] = "scale_lab"
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from treg_exp import app

    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        cfg = compose("config", overrides=[*OVERRIDES, f"run_dir={folder}"])
    OmegaConf.set_struct(cfg, False)
    for name, values in GROUPS.items():
        cfg[name] = values
    cfg.data.count = count
    told: dict[str, Any] = {"count": count, "imported_mb": peak()}

    def timed(name: str, function: Any) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                told[name] = round(time.perf_counter() - start, 2)
                told[f"{name}_mb"] = round(peak(), 1)

        return wrapped

    app.Experiment.from_config = timed("build", app.Experiment.from_config)  # type: ignore[method-assign]
    app.Experiment.open_folder = timed("open", app.Experiment.open_folder)  # type: ignore[method-assign]
    app.restore = timed("restore", app.restore)
    app.conclude = timed("conclude", app.conclude)
    timed("all", app.run)(cfg)
    print(json.dumps(told))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
