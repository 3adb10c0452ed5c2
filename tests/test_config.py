"""Wrong settings: one clear line each, before any model is loaded. Composition happens in this process."""

from __future__ import annotations

import copy
import csv
import re
from functools import lru_cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from treg_exp.configuration.identity import config_hash, identity
from treg_exp.configuration.targets import target_class
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment
from treg_exp.operators.methods import CG
from treg_exp.solvers.last_projection import LastProjection, Projected
from treg_exp.solvers.treg import DataSteps, TReg

from .conftest import DATA, ROOT

#: Two variants beside `own`: without text, and with the caption of another thing.
VARIANTS = [
    "+prompt@variants.no_text.prompt=empty", "+guidance@variants.no_text.guidance=conditional",
    "+null_text@variants.no_text.null_text=off", "+prompt@variants.counterfactual.prompt=counterfactual",
    "+variants.counterfactual.optional=true",
]  # fmt: skip
TINY = [f"prior.path={DATA}/parity/tiny_model", "data.image_size=64", "null_text=off", "text_match=off"]


def composed(*overrides: str) -> DictConfig:
    """The configuration of one task and variant, unless the overrides name another experiment."""
    return copy.deepcopy(composed_once(overrides))


@lru_cache(maxsize=64)
def composed_once(overrides: tuple[str, ...]) -> DictConfig:
    """The same, from memory: a composition takes ten times as long as a copy."""
    if not any(override.startswith("experiment=") for override in overrides):
        overrides = ("experiment=single", *overrides)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def experiment(*overrides: str) -> Experiment:
    return Experiment.from_config(composed(*TINY, *overrides))


@pytest.fixture(autouse=True)
def never_load_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded before the configuration was checked")

    monkeypatch.setattr("treg_exp.priors.diffusers_folder.DiffusersFolder.load", refuse)
    monkeypatch.setattr("diffusers.UNet2DConditionModel.from_pretrained", refuse)


WRONG = {
    "task.noise.sigma=-1": r"task\.noise\.sigma=-1: noise level must be >= 0",
    "task.operator.factor=7": r"^task\.operator\.factor=7: ",
    "last_step.residual=0": r"^last_step\.residual=0: must be > 0, or null for the ridge alone$",
    "solver.steps=0": r"solver\.steps=0: must be an integer >= 1",
    "solver.steps=many": r"solver\.steps=many: must be an integer",
    "solver.encoder=mode": r"solver\.encoder=mode: allowed are mean, sample",
    "solver.data_steps.every=0": r"^solver\.data_steps\.every=0: must be >= 1",
    "guidance.scale=strong": r"guidance\.scale=strong: must be a number",
    "guidance.scale=-2": r"guidance\.scale=-2.*must be >= 0",
    "data.batch_size=0": r"data\.batch_size=0: must be >= 1",
    "data.limit=0": r"data\.limit=0: must be >= 1",
    "data.image_size=60": r"^data\.image_size=60x60: does not fit the prior: .* of 16; null is the prior's own size$",
    "data.image_size=0": r"^data\.image_size=0: must be at least 1 pixel; null is the prior's own size$",
    "draws=0": r"draws=0: must be >= 1",
    "trainer.devices=0": r"trainer\.devices=0: must be >= 1",
    "trainer.accelerator=tpu": r"trainer\.accelerator=tpu: allowed are auto, cpu, gpu",
    "prior.path=nowhere": r"^prior\.path=nowhere: no such folder",
    "prior.precision=fp8": r"^prior\.precision=fp8: allowed are auto, fp32, bf16, fp16",
    "prompt=fixed": r"prompt\.text has no value: add prompt\.text=",
    "data.path=nowhere": r"^data\.path=nowhere: does not exist \(looked at /",
    "data.fit=zoom": r"^data\.fit=zoom: unknown; choose one of: crop, pad, stretch$",
    "data.manifest=nowhere.csv": r"^data: prompt manifest nowhere\.csv does not exist",
    "prompt.role=title": r"^prompt\.role=title: the data has no such text for 200 of 200 samples: .*prompt=fixed",
    "prompt.template=x": r"^prompt\.template=x: must contain \{text\}",
    "solver._target_=os.system": r"^solver\._target_=os\.system: not allowed; .*--packages",
    "solver._target_=treg_exp.solvers.treg.Treg": r"treg_exp\.solvers\.treg has no class Treg; did you mean TReg\?$",
    "solver._target_=treg_exp.solvers.tregg.TReg": r"there is no module treg_exp\.solvers\.tregg$",
    "+solver.stepps=3": r"solver\.stepps: .* takes no such value; did you mean steps\?",
    "null_text=negation": r"^null_text=AdaptiveNegation: needs image features, .*; null_text=fixed and null_",
    "+variants.own.promt=x": r"variants\.own\.promt: unknown",
    "task.operator.factor=[2]": r"^task\.operator\.factor=\[2\]: must be an integer$",
    "solver.prox=cg": r"^solver\.prox=cg: must be a mapping with _target_, as CG or Descent or Exact; .* solver/prox=",
    "task.noise=PoissonNoise": r"^task\.noise=PoissonNoise: must be a mapping with _target_",
    "solver.data_steps=3": r"^solver\.data_steps=3: must be a mapping with _target_, as DataSteps",
    "task.noise=null": r"^task\.noise=null: must be a mapping with _target_, as NoiseModel; ",
    "solver.prox=null": r"^solver\.prox=null: must be a mapping with _target_, as CG or Descent or Exact; ",
    "prior.path=null": r"^prior\.path=null: must be text$",
    "~solver": r"^solver: is missing, and a restoration needs it: solver=<option>, see --help$",
    "~prompt": r"^prompt: is missing, ",
    "prior.path=3": r"^prior\.path=3: must be text; as a text: 'prior\.path=\"3\"'$",
    "task.tau=1e-200": r"^task\.tau=1e-200: must be 0 or between 1e-18 and 1e\+18 in magnitude$",
    "guidance.scale=1e308": r"^guidance\.scale=1e\+308: must be 0 or between 1e-18 and 1e\+18 in magnitude$",
    "seed=100000000000000000000": r"^seed=100000000000000000000: must be 0 or between 1e-18 and 1e\+18 in magnitude$",
    "null_text.adam_eps=-1": r"^null_text\.adam_eps=-1: must be > 0$",
    "null_text.iterations=1000000": r"^null_text\.iterations=1000000: must be in \[0, 100000\]$",
    "solver.final_iterations=1000000": r"^solver\.final_iterations=1000000: must be in \[0, 100000\]$",
    "logger.wandb.thumbnails=-1": r"^logger\.wandb\.thumbnails=-1: must be in \[0, 1024\]; 0: none$",
    "+foo=1": r"^foo: nothing reads it$",
    "+guidence.scale=1": r"^guidence: nothing reads it; did you mean guidance\?$",
    "+steps=3": r"^steps: nothing reads it; did you mean solver\.steps\?$",
    "+trainer.precision=16": r"^trainer\.precision: nothing reads it; it has accelerator, devices, num_nodes$",
    "+trainer.device=2": r"^trainer\.device: nothing reads it; did you mean devices\?",
    "+data.batchsize=2": r"^data\.batchsize: nothing reads it; did you mean batch_size\?$",
    "+data.pathh=2": r"^data\.pathh: EmojiTest takes no such value; did you mean path\?$",
    "+data.length=64": r"^data\.length=64: nothing reads it, the prior makes image; it has image_size$",
    "recipe=emoji64/unet": r"^recipe: nothing reads it unless mode=fit$",
    "draws=100000000": r"^draws=100000000: would be 20000000000 restorations, 1000000 at most are one run; ",
    "data.image_size=65536": r"^data\.image_size=65536: a signal can have 67108864 numbers at most; ",
    "data.image_size=64.5": r"^data\.image_size=64\.5: must be an integer or null; ",
    "task.name='[/x]'": r"^task\.name: the name '\[/x\]' contains '\['; letters, digits, ",
    "task.name=../x": r"^task\.name: the name '\.\./x' must not begin with ",
    "metrics.psnr=null": r"^metrics\.psnr=null: must be a mapping with _target_; to leave it out: '~metrics\.psnr'$",
    "+logger.x=null": r"^logger\.x=null: must be a mapping with _target_",
    "solver=prox/cg": r"^solver\._target_=treg_exp\.operators\.methods\.CG: makes no Solver",
    "task=../solver/pseudo_inverse": r"^task\._target_=treg_exp\.solvers\.baselines\.PseudoInverse: makes no Task",
    "guidance.scale=nan": r"^guidance\.scale=nan: must be a finite number$",
    "solver.lam=inf": r"^solver\.lam=inf: must be a finite number$",
    "+solver.some=[1.0,nan]": r"^solver\.some\.1=nan: must be a finite number$",
    "variants=foo": r"^variants=foo: must be a mapping of names",
    "+variants.foo=bar": r"^variants\.foo=bar: must be a mapping with any of prompt, guidance",
    "+variants.foo.optional=5": r"^variants\.foo\.optional=5: must be true or false$",
    "+variants.foo.prompt=bar": r"^variants\.foo\.prompt=bar: .* with \+prompt@variants\.foo\.prompt=bar$",
    "+variants.foo.null_text=off": r"^variants\.foo\.null_text=off: .* \+null_text@variants\.foo\.null_text=off$",
    "task.operator._partial_=false": r"^task\.operator\._target_=.*BicubicDownsampling: needs _partial_: true, ",
    "+task.noise._partial_=true": r"^task\.noise\._target_=.*GaussianNoise: must not have _partial_: true, ",
    "+task.noise._partial_=3": r"^task\.noise\._partial_=3: must be true or false$",
    "~task.noise.sigma": r"^task\.noise\.sigma has no value, and GaussianNoise needs one: \+task\.noise\.sigma=\.\.\.$",
    "~solver._target_": r"^solver=.*: must be a mapping with _target_",
    "solver=prox/descent": r"^solver\._target_=treg_exp\.operators\.methods\.Descent: makes no Solver",
    "+metrics.again._target_=treg_exp.metrics.fidelity.PSNR": r"^metrics\.again=PSNR: fills the column psnr",
    "logger.wandb.mode=cloud": r"logger\.wandb\.mode=cloud: allowed are offline, online",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_values_are_named_in_one_line(override: str) -> None:
    path, more = override.partition("=")[0], []
    folder = ["data=folder", "data.image_size=64", f"data.path={ROOT}/src/treg_exp/assets/emoji_test/images"]
    if path in ("data.path", "data.fit", "data.manifest"):
        more = folder
    elif path.startswith("last_step."):
        more = ["last_step=projection"]
    elif path.startswith("null_text."):
        more = ["prior=tiny_random", "prior.path=tiny_random", "null_text=negation"]
    with pytest.raises(ConfigError, match=WRONG[override]) as caught:
        experiment(*more, override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "wrong", "message"),
    [
        ("box_inpainting", "task.operator.box=[0,1]", r"^task\.operator\.box=\(0\.0, 1\.0\): must be four fractions"),
        ("blurred_sr", "task.operator.first.sigma={a:1}", r"^task\.operator\.first\.sigma=.*: must be a number$"),
        ("poisson_denoising", "task.noise.peak_photons=1e17", r"^task\.noise\.peak_photons=1e\+17: .* at most 1e15$"),
        ("phase_retrieval", "task.operator.oversampling=1e9", r"^task\.operator\.oversampling=1000000000\.0: .* 64\]$"),
        ("sparse_view_ct", "task.operator.angles=1000000", r"^task\.operator\.angles=1000000: must be at most 5000$"),
        ("deepinv", "task.physics.mask=null", r"^task\.physics=Inpainting: fails for a signal of shape "),
        ("box_inpainting", "task.operator.box=0.5", r"^task\.operator\.box=0\.5: must be a list$"),
        ("box_inpainting", "task.operator.box=[a,b,c,d]", r"^task\.operator\.box\.0=a: must be a number$"),
        ("anisotropic_deblur", "task.operator.sigma=3", r"^task\.operator\.sigma=3: must be a list$"),
    ],
)
def test_wrong_values_of_an_operator_that_is_made_late(task: str, wrong: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(f"task={task}", wrong)


def test_a_late_error_of_a_nested_operator_is_found_by_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^task\.operator\.second\.quality=0: must be "):
        experiment("task=blurred_sr_jpeg", "task.operator.second.quality=0")
    with pytest.raises(ConfigError, match=r"^task\.operator\.first\.second\.factor=7: "):
        experiment("task=blurred_sr_jpeg", "task.operator.first.second.factor=7")


def test_errors_of_a_variant_name_where_its_value_stands() -> None:
    wrong = ["variants.other_1.prompt.role=title", "variants.other_1.optional=false"]
    with pytest.raises(ConfigError, match=r"^variants\.other_1\.prompt\.role=title: the data has no such text"):
        experiment("experiment=quickstart", *wrong)
    with pytest.raises(ConfigError, match=r"^variants\.bare\.null_text=AdaptiveNegation: needs image features"):
        experiment("experiment=single", "+null_text@variants.bare.null_text=negation")
    with pytest.raises(ConfigError, match=r"^texts\.source\.role=title: the data has no such text"):
        experiment("experiment=single", "+prompt@texts.source=caption", "texts.source.role=title")


def test_an_image_without_a_row_in_the_manifest(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{name}.png")
    (tmp_path / "prompts.csv").write_text("sample_id,caption\na,a cat\n")
    with pytest.raises(ConfigError, match=r"^prompt: prompt manifest prompts\.csv misses 1 of 2 images: b"):
        experiment("data=folder", f"data.path={tmp_path}", "prompt=manifest", f"prompt.path={tmp_path}/prompts.csv")


def test_images_without_captions_ask_for_a_prompt(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with pytest.raises(
        ConfigError, match=r"^prompt\.role=caption: the data has no such text for 1 of 1 samples: a; .*prompt=fixed"
    ):
        experiment("data=folder", f"data.path={tmp_path}")


def test_an_incomplete_prior_lists_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    with pytest.raises(ConfigError, match=r"missing vae/config\.json, .*unet/config\.json"):
        experiment(f"prior.path={tmp_path}")


def test_measurements_of_another_shape(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(ConfigError, match=r"^task: y=\(3, 10, 10\): .*\(3, 8, 8\)"):
        Experiment.from_config(
            composed(
                TINY[0], *TINY[2:], "data=measurements", f"data.path={tmp_path}", "prompt=empty", "data.image_size=64"
            )
        )


def test_a_key_that_only_interpolations_read() -> None:
    made = experiment("+s=3", "+spare=1", "guidance.scale=${s}", "solver.steps=${spare}")
    assert made.variants["own"].policy.guidance.scale == 3
    assert "s" not in made.config
    assert made.config["guidance"]["scale"] == 3
    with pytest.raises(ConfigError, match=r"^scale: nothing reads it; did you mean guidance\.scale\?$"):
        experiment("+scale=3", "guidance.scale=${guidance.scale_}")  # a name further down is another one


def test_collections_may_be_left_out() -> None:
    made = experiment("~metrics", "~logger", "~texts", "~variants", "~trainer")
    assert (list(made.variants), made.loggers, made.trainer.devices) == (["own"], [], 1)


@pytest.mark.parametrize(
    "text", ["${x}", "a \\${b}", "\\\\${b} \\", "ends in \\", "$x `y` \"z\" 'q'", "${", "${oc.env:HOME}"]
)
def test_a_text_with_what_an_interpolation_looks_like(text: str, tmp_path: Path) -> None:
    """It is the same text for every process, and in a run that is started from the folder of another."""
    cfg = composed(*TINY, "prompt=fixed", "data.limit=1", "prompt.text=x")
    cfg.prompt.text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    made = Experiment.from_config(cfg)
    assert made.items[0].texts["prompt"] == text
    OmegaConf.save(OmegaConf.create(made.config), tmp_path / "config.yaml")
    assert Experiment.from_config(OmegaConf.load(tmp_path / "config.yaml")).items[0].texts["prompt"] == text


OPTIONS = sorted((ROOT / "conf").rglob("*/*.yaml"))


@pytest.mark.parametrize("group", [p.name for p in sorted((ROOT / "conf").iterdir()) if p.is_dir()])
def test_every_option_of_every_group_composes(group: str) -> None:
    folder = ROOT / "conf" / group
    named = "".join(file.read_text() for file in folder.glob("*.yaml"))
    for file in folder.rglob("*.yaml"):
        parts = file.relative_to(folder).with_suffix("").parts
        own = (
            len(parts) > 1 and f"- {parts[0]}:" in named
        )  # a defaults list names it: a group of its own, as solver/prox
        own = own or group == "hydra"
        option = "/".join(parts[1:] if own else parts)
        assert composed(f"{group}/{parts[0]}={option}" if own else f"{group}={option}")


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: file.relative_to(ROOT / "conf").with_suffix("").as_posix())
def test_every_target_of_every_option_may_be_built(file: Path) -> None:
    def check(node: object) -> None:
        for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            check(child)
        if isinstance(node, dict) and "_target_" in node:
            plugins = Plugins.instance().class_name_to_class
            assert node["_target_"] in plugins or isinstance(target_class(node["_target_"], "x"), type)

    check(OmegaConf.to_container(OmegaConf.load(file), resolve=False))


def test_a_variant_of_some_values_takes_the_others_from_the_group() -> None:
    own = ["+variants.big.guidance.scale=5", "+variants.sharp.null_text.text=blurry"]
    made = experiment("experiment=single", "null_text=fixed", "guidance.scale=3", *own)
    big, sharp = (made.variants[name].policy for name in ("big", "sharp"))
    assert (big.guidance.scale, big.null_text.text) == (5, "out of focus, depth of field")
    assert (sharp.guidance.scale, sharp.null_text.text) == (3, "blurry")
    with pytest.raises(ConfigError, match=r"^variants\.big\.guidance\.scal: .* takes no such value"):
        experiment("experiment=single", "+variants.big.guidance.scal=5")


def test_variants_of_the_quickstart() -> None:
    made = experiment("experiment=quickstart", "guidance.scale=3", "null_text=fixed", "null_text.text=blurry")
    own, plain, other = (made.variants[name].policy for name in ("own", "no_text", "other_1"))
    assert (own.guidance.scale, plain.guidance.scale, other.guidance.scale) == (3, 1, 3)
    assert (own.null_text.text, plain.null_text.text, other.null_text.text) == ("blurry", "", "blurry")
    prompts = {item.variant: item.texts["prompt"] for item in made.items if item.index == 0}
    assert prompts["no_text"] == ""
    assert len({prompts[name] for name in ("own", "other_1", "other_2")}) == 3
    assert len(made.items) == len(made.source) * 4 * made.settings.draws


def test_the_quickstart_has_several_tasks_and_batches_of_one_each() -> None:
    made = experiment("experiment=quickstart")
    tasks = {item.task for item in made.items}
    assert tasks == {"colour", "missing_half", "detail"}
    for batch in made.pending_batches(anew=True):
        assert len({(made.items[i].variant, made.items[i].task) for i in batch}) == 1
    assert {(b.items[0].variant, b.items[0].task) for b in made.probes()} == {
        (v, t) for v in made.variants for t in tasks
    }
    assert made.items[0].told["task"] == made.items[0].task


def test_data_without_tasks_is_refused_by_the_quickstart() -> None:
    with pytest.raises(ConfigError, match=r"^task\.role=task: each sample names its task .*: experiment=single$"):
        experiment("experiment=quickstart", "data=emoji_test")


def test_each_task_of_a_sample_is_checked_before_a_model_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"^task\.tasks\.detail\.operator\.factor=7: "):
        experiment("experiment=quickstart", "task.tasks.detail.operator.factor=7")


def test_released_experiments_have_the_released_constants() -> None:
    made = Experiment.from_config(composed("experiment=released/treg_gaussian_deblur", "data.limit=1"))
    solver, (variant,) = made.solver, made.variants.values()
    assert isinstance(solver, TReg)
    assert (solver.steps, solver.lam, solver.prox, solver.data_steps) == (
        200,
        1e-4,
        CG(5, 1e-4),
        DataSteps(3, 0, 1, 170),
    )
    assert (solver.encoder, solver.final_projection, solver.alpha_shift) == ("sample", False, 1)
    null_text = variant.policy.null_text
    assert (null_text.text, null_text.lr, null_text.iterations) == ("out of focus, depth of field", 5e-4, 10)
    assert variant.policy.guidance.scale == 5.0
    assert (made.task.name, made.task.noise.sigma) == ("treg_gaussian_deblur", 0.01)


NAMED = sorted((ROOT / "conf/experiment").rglob("*.yaml"))


@pytest.mark.parametrize("file", NAMED, ids=lambda file: file.stem)
def test_every_named_experiment_can_start(file: Path) -> None:
    """Where its name has a task, that is what it measures."""
    name = file.relative_to(ROOT / "conf/experiment").with_suffix("").as_posix()
    made = Experiment.from_config(composed(f"experiment={name}", "data.limit=1"))
    _, _, task = name.rpartition("treg_")
    assert name.startswith(("study", "tuning")) or task == name or made.task.name.removeprefix("treg_") == task
    assert made.items


def test_best_experiments_have_the_tuned_settings() -> None:
    made = Experiment.from_config(composed("experiment=best/treg_gaussian_deblur", "data.limit=1"))
    (variant,) = made.variants.values()
    assert isinstance(made.solver, TReg)
    assert (made.solver.data_steps, made.task.tau, variant.policy.guidance.scale) == (DataSteps(every=1), 0.3, 2.0)


def test_samples_without_a_counterfactual_are_left_out_of_that_variant(tmp_path: Path) -> None:
    packaged = ROOT / "src/treg_exp/assets/emoji_test"
    (tmp_path / "images").symlink_to(packaged / "images")
    rows = list(csv.DictReader((packaged / "captions.csv").read_text().splitlines()))
    with (tmp_path / "captions.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["sample_id", "caption", "counterfactual"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows[:24])
        table.writerows({**row, "counterfactual": ""} for row in rows[24:])
    made = experiment("data.limit=30", f"+data.path={tmp_path}", *VARIANTS)
    counts = {name: sum(item.variant == name for item in made.items) for name in made.variants}
    assert counts["own"] == counts["no_text"] == 30
    assert counts["counterfactual"] == 24


def test_identity_ignores_what_changes_no_result() -> None:
    base = composed(*TINY)
    for same in ("data.batch_size=1", "trainer.devices=2", "logger=csv", "run_dir=x", "dry_run=true"):
        assert config_hash(composed(*TINY, same)) == config_hash(base), same
    for other in ("seed=1", "solver.steps=9", "task.seed=1", "data.limit=4", "prior.precision=bf16"):
        assert config_hash(composed(*TINY, other)) != config_hash(base), other
    assert "batch_size" not in identity(base)["data"]
    folder = composed(*TINY, "data=folder", "data.path=x", "prior=diffusers_dir")
    for same in ("data.verify=false", "prior.vae_slicing=true", "prior.gradient_checkpointing=true"):
        key, _, value = same.partition("=")
        changed = folder.copy()
        OmegaConf.update(changed, key, value == "true")
        assert OmegaConf.select(folder, key) is not (value == "true")
        assert config_hash(changed) == config_hash(folder), same


def test_the_debug_preset_fits_every_solver() -> None:
    """Also solvers that take no steps."""
    assert experiment("debug=default", "solver=pseudo_inverse").solver.steps == 0
    assert experiment("debug=default", "solver=unconditional").solver.steps == 4
    assert experiment("debug=default", "solver=best_of", "prior.path=emoji64").solver.steps == 4 * 4
    with pytest.raises(ConfigError, match=r"^solver\.stepps: .*PseudoInverse takes no such value"):
        experiment("debug=default", "solver=pseudo_inverse", "+solver.stepps=3")


def test_a_last_step_stands_after_any_solver_and_off_leaves_the_run_what_it_was() -> None:
    off, on = (experiment("solver=ldps", f"last_step={option}") for option in ("off", "projection"))
    assert "last_step" not in off.config
    assert {**on.identity, "last_step": None} == {**off.identity, "last_step": None}
    assert on.solver == Projected(off.solver, LastProjection())
    assert "LatentDPS and a last projection, 999 steps" in on.title
    closer = experiment("solver=ldps", "last_step=projection", "solver/prox@last_step.prox=cg", "last_step.residual=2")
    assert closer.solver.last_step == LastProjection(prox=CG(), residual=2.0)
    with pytest.raises(ConfigError, match=r"^last_step\.prox=CG: solves linear .*prox@last_step\.prox=exact or"):
        experiment("task=phase_retrieval", "last_step=projection", "solver/prox@last_step.prox=cg")
    with pytest.raises(ConfigError, match=r"^last_step=LastProjection: meets .* none; last_step=off needs none$"):
        experiment("experiment=edit", "last_step=projection")


def test_an_experiments_values_of_a_solver_reach_the_one_that_is_run_several_times() -> None:
    """Under either name they make the same run."""
    best = ["experiment=best/treg", "solver=best_of", "prior.path=emoji64", "data.limit=1"]
    made = experiment(*best)
    assert made.solver.of.data_steps == DataSteps(every=1)
    named = ["experiment=single", "solver=best_of", "solver.of.data_steps.every=1", "guidance.scale=2", "task.tau=0.3"]
    other = experiment(*named, *best[2:], "null_text=negation")
    assert made.config["solver"] == other.config["solver"]
    with pytest.raises(ConfigError, match=r"^solver\.data_stepps: .*BestOf takes no such value"):
        experiment(*best, "+solver.data_stepps.every=1")


def test_a_value_of_the_solver_that_is_run_several_times_is_not_replaced_without_a_word() -> None:
    """best/beyond has 24 steps of its own, which would take the place of those that the command asks for."""
    best = ["experiment=best/beyond", "solver=best_of", "prior.path=emoji64", "data.limit=1"]
    with pytest.raises(ConfigError, match=r"^solver\.of\.steps=12: solver\.steps=24, .* is meant for it too; give sol"):
        experiment(*best, "solver.of.steps=12")
    with pytest.raises(ConfigError, match=r"^solver\.of\.data_steps\.every=2: solver\.data_steps\.every=1, "):
        experiment(*best, "solver.of.data_steps.every=2")
    assert experiment(*best, "solver.steps=12").solver.of.steps == 12
    assert experiment(*best, "solver.of.lam=0.5").solver.of.lam == 0.5
