"""What a hostile configuration may name as a target: nothing is imported, called or written, and one line says so."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from tests import warm
from tests.conftest import ROOT
from treg_exp.configuration.building import build
from treg_exp.configuration.command_line import prepared_arguments
from treg_exp.configuration.hydra_guard import check_hydra
from treg_exp.configuration.targets import target_class
from treg_exp.errors import ConfigError
from treg_exp.metrics.base import Metric
from treg_exp.operators.base import Operator
from treg_exp.solvers.base import Solver
from treg_exp.tasks.base import Task

SHELL = {"command": "touch canary"}
HOSTILE: dict[str, dict[str, Any]] = {
    "os.system": SHELL,
    "os.popen": {"cmd": "touch canary"},
    "posix.system": SHELL,
    "subprocess.Popen": {"args": ["touch", "canary"]},
    "subprocess.run": {"_args_": [["touch", "canary"]]},
    "builtins.eval": {"_args_": ["open('canary', 'w')"]},
    "builtins.exec": {"_args_": ["open('canary', 'w')"]},
    "builtins.open": {"file": "canary", "mode": "w"},
    "builtins.__import__": {"name": "canary_module"},
    "importlib.import_module": {"name": "canary_module"},
    "runpy.run_path": {"path_name": "canary_module.py"},
    "functools.partial": {"_args_": ["os.system"]},
    "pathlib.Path": {"_args_": ["canary"]},
    "pathlib.Path.touch": {"_args_": ["canary"]},
    "pickle.load": {},
    "numpy.load": {"file": "canary.npy", "allow_pickle": True},
    "torch.load": {"f": "canary.pt", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": ".", "source": "local", "model": "x"},
    "torch.save": {"obj": 1, "f": "canary"},
    "torch.utils.collect_env.run": SHELL,
    "torch.fx.graph_module._exec_with_source": {"src": "open('canary', 'w')", "globals": {}},
    "torch.utils.cpp_extension.load_inline": {"name": "x", "cpp_sources": "int x;"},
    "torch.distributed.run.main": {"args": ["canary_module.py"]},
    "torch._inductor.codecache.CppCodeCache": {},
    "torch._inductor.codecache.PyCodeCache.load": {"source_code": "open('canary', 'w')"},
    "torch._inductor.runtime.compile_tasks._reload_python_module": {"key": "x", "path": "canary_module.py"},
    "torch.package.PackageImporter": {"file_or_buffer": "canary.pt"},
    "torch.jit.load": {"f": "canary.pt"},
    "torch.utils.model_zoo.load_url": {"url": "file:///canary"},
    "torch.multiprocessing.spawn": {"fn": "os.system"},
    "torch.nn.Linear": {"in_features": 1, "out_features": 1},
    "torch.optim.Adam": {"params": []},  # the right class in the wrong place
    "torch.optim.adam.torch.load": {"f": "canary.pt"},
    "lightning.pytorch.LightningModule.load_from_checkpoint": {"checkpoint_path": "canary.pt"},
    "lightning.pytorch.callbacks.LambdaCallback": {},
    "lightning.pytorch.loggers.csv_logs.os.system": SHELL,
    "lightning.pytorch.loggers.MLFlowLogger": {"tracking_uri": "file:canary"},
    "lightning.pytorch.callbacks.OnExceptionCheckpoint": {"dirpath": "canary"},
    "lightning.fabric.utilities.cloud_io._load": {"path_or_url": "canary.pt"},
    "logging.FileHandler": {"filename": "canary"},
    "logging.config.fileConfig": {"fname": "canary"},
    "wandb.init": {},
    "omegaconf.OmegaConf.save": {"config": {}, "f": "canary"},
    "transformers.AutoModel.from_pretrained": {"pretrained_model_name_or_path": ".", "trust_remote_code": True},
    "diffusers.DiffusionPipeline.from_pretrained": {"pretrained_model_name_or_path": "."},
    "deepinv.physics.adjoint_function": {"A": 1, "input_size": [1]},
    "deepinv.physics.forward.torch.load": {"f": "canary.pt"},
    "torchmetrics.Metric": {},
    "hydra.utils.get_class": {"path": "canary_module.Thing"},
    "hydra.utils.get_method": {"path": "os.system"},
    "hydra.utils.instantiate": {"config": {"_target_": "os.system", **SHELL}},
    "hydra.utils.call": {"config": {"_target_": "os.system", **SHELL}},
    "canary_module.Thing": {},
    "treg_exp.files.write_text": {"path": "canary", "text": ""},
    "treg_exp.files.os.system": SHELL,
    "treg_exp.files.Path": {},
    "treg_exp.app.run": {"cfg": {}},
    "treg_exp.app.subprocess.run": {"_args_": [["touch", "canary"]]},
    "treg_exp.data.arrays.torch.load": {"f": "canary.pt", "weights_only": False},
    "treg_exp.data.arrays.pickle.load": {},
    "treg_exp.engine.processes.LocalProcesses": {"command": ["touch", "canary"], "count": 2},
    "treg_exp.priors.networks.import_module": {"name": "canary_module"},
    "treg_exp.recipes.emoji64.stage.run": {},
    "treg_exp.engine.run_folder.RunFolder": {"path": "canary"},
    "treg_exp.training.folder.TrainingFolder": {"path": "canary"},
    "treg_exp.engine.processes.Workers": {"commands": [["touch", "canary"]]},
    "treg_exp.worker.main": {"folder": "canary", "rank": 1, "world": 2, "parent": 1},
    "treg_exp.recipes.emoji64.lpips_weights.subprocess.run": {"args": ["touch", "canary"]},
    "treg_exp.solvers.treg.TReg.__init__": {},
    "treg_exp.solvers.treg.__builtins__.eval": {"_args_": ["open('canary', 'w')"]},
    "treg_exp.solvers.treg.DataSteps": {},  # ours, in the wrong place
    "treg_exp.solvers.base.Solver": {},  # abstract
    "treg_exp.api.TReg": {},  # not where it is defined
    "treg_exp": {},
    "TReg": {},
    ".os.system": SHELL,
    "..treg_exp.files.write_text": {"path": "canary", "text": ""},
    "treg_exp..files.write_text": {"path": "canary", "text": ""},
    "treg_exp.files.write_text\nos": {},
    "os.system ": SHELL,
    "os/system": SHELL,
    "treg_exp_evil.Thing": {},
    "": {},
}


@pytest.fixture(autouse=True)
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder where nothing may appear, with a module that leaves a trace when it is imported."""
    for name in ("canary_module", "treg_exp_evil"):
        (tmp_path / f"{name}.py").write_text("open('canary', 'w').close()\nclass Thing:\n    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("TREG_EXP_PACKAGES", raising=False)
    yield
    assert [path.name for path in tmp_path.rglob("canary*") if path.suffix not in (".py", ".pyc")] == []
    assert not {"canary_module", "treg_exp_evil"} & set(sys.modules)


def refused(node: Any, section: str, kind: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(OmegaConf.create(node), section, kind)
    message = str(caught.value)
    assert message.startswith(section)
    return message


@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_targets_are_refused_in_every_place(target: str) -> None:
    node = {"_target_": target, **HOSTILE[target]}
    refused(node, "solver", Solver)
    refused({**node, "_partial_": True}, "solver", Solver)
    refused(node, "metrics.x", Metric)
    refused(node, "task.operator", Callable[..., Operator])
    named = {"_target_": "treg_exp.solvers.treg.TReg"}
    refused({**named, "prox": node}, "solver", Solver)
    refused({**named, "steps": node}, "solver", Solver)  # a place that takes a number
    refused({**named, "steps": [[node]]}, "solver", Solver)
    refused({**named, "data_steps": {"_target_": "treg_exp.solvers.treg.DataSteps", "every": node}}, "solver", Solver)
    refused({"_target_": "treg_exp.metrics.alignment.TextAlignment", "roles": {"a": node}}, "metrics.x", Metric)
    refused({"_target_": "treg_exp.metrics.alignment.TextAlignment", "roles": {"a": [node]}}, "metrics.x", Metric)
    operator = {"_target_": "deepinv.physics.Inpainting", "_partial_": True, "mask": node}
    refused({"_target_": "treg_exp.tasks.deepinv.DeepinvTask", "physics": operator}, "task", Task)


@pytest.mark.parametrize("key", ["_args_", "_recursive_", "_self_", "__class__", "_Target_"])
def test_further_special_keys_are_refused(key: str) -> None:
    node = {"_target_": "treg_exp.solvers.treg.TReg", key: [{"_target_": "os.system", **SHELL}]}
    assert refused(node, "solver", Solver).startswith(f"solver.{key}: not allowed")


@pytest.mark.parametrize("target", [3, None, ["os.system"], {"_target_": "os.system", **SHELL}])
def test_targets_that_are_no_text_are_refused(target: object) -> None:
    refused({"_target_": target}, "solver", Solver)


def test_an_interpolation_is_no_way_around() -> None:
    cfg = OmegaConf.create({"x": "os.system", "solver": {"_target_": "${x}", **SHELL}})
    with pytest.raises(ConfigError, match=r"^solver\._target_=os\.system: not allowed"):
        build(cfg.solver, "solver", Solver)


def test_messages_are_one_line_and_say_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        target_class("my_lab.x.Y", "solver")
    assert str(caught.value) == (
        "solver._target_=my_lab.x.Y: not allowed; a package of your own is allowed by --packages NAME or "
        "TREG_EXP_PACKAGES=NAME in the environment, see docs/extending.md"
    )


CALL = "{_target_: os.system, command: touch canary}"
WRITE = "{_target_: treg_exp.files.write_text, path: canary, text: x}"
EVIL_FILES = {
    "a callback": f"hydra: {{callbacks: {{x: {CALL}}}}}",
    "a callback by interpolation": f"evil: {CALL}\nhydra: {{callbacks: {{x: '${{evil}}'}}}}",
    "a callback of ours that is none": f"hydra: {{callbacks: {{x: {WRITE}}}}}",
    "a launcher": "hydra: {launcher: {_target_: canary_module.Thing}}",
    "a sweeper": "hydra: {sweeper: {_target_: os.system}}",
    "a logging factory": "hydra: {job_logging: {handlers: {x: {'()': os.system, command: touch canary}}}}",
    "a logging class": "hydra: {job_logging: {handlers: {x: {class: logging.FileHandler, filename: canary}}}}",
    "a logging stream": "hydra: {hydra_logging: {handlers: {x: {stream: 'ext://canary_module.x'}}}}",
    "the environment": (
        "hydra: {job: {env_set: {TREG_EXP_PACKAGES: canary_module}}}\nsolver: {_target_: canary_module.Thing}"
    ),
    "a solver": f"solver: {CALL}",
    "a logger": f"logger: {{x: {WRITE}}}",
}  # fmt: skip


def evil_folder(tmp_path: Path, name: str) -> Path:
    (tmp_path / "evil" / "experiment").mkdir(parents=True)
    (tmp_path / "evil" / "experiment" / "evil.yaml").write_text(f"# @package _global_\n{EVIL_FILES[name]}\n")
    return tmp_path / "evil"


@pytest.mark.parametrize("name", [name for name, text in EVIL_FILES.items() if "hydra:" in text])
def test_hostile_settings_of_hydra(name: str, tmp_path: Path) -> None:
    overrides = [f"hydra.searchpath=[file://{evil_folder(tmp_path, name)}]", "experiment=evil"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", overrides=overrides, return_hydra_config=True)
    with pytest.raises(ConfigError, match=r"^hydra\.[\w.]+(\(\))?[=:].* ?not allowed"):
        check_hydra(cfg.hydra)


@pytest.mark.parametrize("name", ["a callback", "a logging factory", "the environment", "a solver", "a logger"])
def test_hostile_files_of_a_config_dir(name: str, tmp_path: Path) -> None:
    """The whole program, though imported beforehand: Hydra acts on its settings before `run.py` sees them."""
    (tmp_path / "work").mkdir()
    folder = evil_folder(tmp_path, name)
    command = [sys.executable, str(ROOT / "run.py"), "--config-dir", str(folder), "experiment=evil", "data.limit=1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tmp_path)])}
    done = warm.run(command, cwd=tmp_path / "work", env=environment, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "not allowed" in done.stderr
    assert not list((tmp_path / "work").iterdir())


def test_a_pickled_configuration_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"^--experimental-rerun: not allowed; "):
        prepared_arguments(["--experimental-rerun", "canary.pickle"])
    with pytest.raises(ConfigError, match=r"^--experimental-rerun: not allowed; "):
        prepared_arguments(["--experimental-r=canary.pickle"])
    assert prepared_arguments(["-m", "--packages", "my_lab", "seed=1"]) == ["-m", "seed=1"]


def test_what_recipes_and_tasks_need_of_libraries() -> None:
    physics = {"_target_": "deepinv.physics.Inpainting", "_partial_": True, "_convert_": "all", "mask": 0.3}
    assert build(physics, "task.physics", Callable[..., nn.Module]).func.__name__ == "Inpainting"
    adam = {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1}
    assert build(adam, "optimizer", Callable[..., torch.optim.Optimizer]).keywords == {"lr": 0.1}
    from lightning.pytorch.callbacks import Callback

    timer = {"_target_": "lightning.pytorch.callbacks.Timer", "duration": "00:00:01:00"}
    assert isinstance(build(timer, "callbacks.timer", Callback), Callback)


def test_the_command_line_may_say_more_than_a_file() -> None:
    override = "+hydra.job.env_set.CUDA_VISIBLE_DEVICES=0"
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", overrides=[override, "+hydra.job.env_set.OTHER=1"], return_hydra_config=True)
    with pytest.raises(ConfigError, match=r"^hydra\.job\.env_set\.OTHER: not allowed in a file"):
        check_hydra(cfg.hydra, [override])
    check_hydra(cfg.hydra, [override, "hydra.job.env_set.OTHER=1"])
    # Plugins that are not installed here.
    for key, value in {"launcher.setup": ["touch canary"], "sweeper.custom_search_space": "os.system"}.items():
        node = OmegaConf.create({"job": {}, "launcher": {}, "sweeper": {}})
        OmegaConf.update(node, key, value)
        with pytest.raises(ConfigError, match=rf"^hydra\.{key}: not allowed in a file; say it on the command line$"):
            check_hydra(node)
        check_hydra(node, [f"hydra.{key}={value}"])


def test_no_setting_of_a_cluster_job_begins_a_line_of_its_script() -> None:
    """A plugin that is not installed here writes ``#SBATCH --comment='VALUE'``: quotes do not keep lines together."""
    launcher = {"partition": "gpu", "name": "${..job.name}", "setup": ["module load cuda"]}
    node = OmegaConf.create({"job": {"name": "run"}, "launcher": launcher})
    check_hydra(node, ["hydra.launcher.setup=[module load cuda]"])
    node.job.name = "run\ntouch canary"
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.name: not allowed; must be one line$"):
        check_hydra(node, ["hydra.launcher.setup=[module load cuda]"])
