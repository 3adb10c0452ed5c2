"""The generated prior: complete, small, the same everywhere, and enough for every solver, rule and metric."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.priors.sampling import load
from tests.test_config import composed
from tests.tiny import step_state
from treg_exp.app import run
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment
from treg_exp.priors import tiny
from treg_exp.priors.diffusers_folder import DiffusersFolder
from treg_exp.priors.named import prior_path
from treg_exp.priors.prior import Prior
from treg_exp.run_layout import read_rows
from treg_exp.schedule.levels import Level
from treg_exp.text.null_text.negation import AdaptiveNegation
from treg_exp.text.policy import TextPolicy

EMOJI64 = ROOT / "src" / "treg_exp" / "assets" / "emoji64"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The generated prior, in a cache of this module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield prior_path("tiny_random")


@pytest.fixture(scope="module")
def prior() -> Prior:
    return load("tiny_random")


@pytest.fixture
def copying(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy instead of generating: quick, for tests of where the files go."""
    complete = Path(folder)
    monkeypatch.setattr(tiny, "write_tiny_random", lambda to: shutil.copytree(complete, to, dirs_exist_ok=True))
    return complete


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_has_every_part_of_the_shipped_prior_in_less_than_a_megabyte(folder: Path) -> None:
    files = contents(folder)
    assert set(files) == set(tiny.FILES)
    assert sum(map(len, files.values())) < 1e6
    for part in ("vae", "unet", "text_encoder", "tokenizer", "image_encoder", "scheduler"):
        assert {p.name for p in (EMOJI64 / part).iterdir()} <= {p.name for p in (folder / part).iterdir()}
    index, expected = (json.loads((f / "model_index.json").read_text()) for f in (folder, EMOJI64))
    beside = {"_diffusers_version", "image_encoder"}  # the pipeline knows only CLIP's own image towers
    assert {n: v for n, v in index.items() if n not in beside} == {n: v for n, v in expected.items() if n not in beside}
    unets = [json.loads((f / "unet" / "config.json").read_text()) for f in (folder, EMOJI64)]
    for key in ("down_block_types", "up_block_types", "mid_block_type", "addition_embed_type", "sample_size"):
        assert unets[0][key] == unets[1][key]
    own, shipped = (DiffusersFolder(path=name).info for name in ("tiny_random", "emoji64"))
    assert (own.signal_shape, own.multiple) == (shipped.signal_shape, shipped.multiple)
    assert (own.text_layout.widths, own.feature_width) == ((tiny.WIDTH,), tiny.WIDTH)


def test_is_the_same_everywhere_and_leaves_the_global_stream_alone(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    tiny.write_tiny_random(tmp_path / "again")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert contents(tmp_path / "again") == contents(folder)


def test_is_written_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "write_tiny_random", lambda to: pytest.fail("written again"))
    assert prior_path("tiny_random") == folder


def test_what_is_missing_is_completed_and_the_rest_left_alone(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tiny.tiny_random()
    kept = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.parent.name != "image_encoder"}
    shutil.rmtree(folder / "image_encoder")
    assert tiny.tiny_random() == folder
    assert contents(folder) == contents(copying)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept


def test_many_at_once(copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever returns finds all files, whatever the others are doing; and nothing else is left."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: set(tiny.FILES) <= set(contents_names(tiny.tiny_random())), range(24)))
    assert all(seen)
    assert contents(tiny.tiny_random()) == contents(copying)


def contents_names(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def test_a_read_only_cache_is_replaced_by_a_temporary_one(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert tiny.tiny_random().parents[2] == tmp_path
    monkeypatch.setattr(tiny, "_cache_roots", lambda: iter([tmp_path / "file"]))
    with pytest.raises(ValueError, match="set XDG_CACHE_HOME") as caught:
        tiny.tiny_random()
    assert "\n" not in str(caught.value)


def test_a_relative_cache_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert all(root.is_absolute() for root in tiny._cache_roots())


def test_signals_keep_their_size_and_text_and_pictures_matter(prior: Prior) -> None:
    """A prior that ignores the prompt, or sees all pictures alike, would let wrong code pass."""
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[1] = x[1].mean((1, 2), keepdim=True)
    z = torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    level = Level(500, 0.3**0.5, 0.7**0.5)
    text = prior.text.embed(["red apple", "green pear", ""])
    eps = prior.predict(z, level, text).eps
    for signal in (prior.encode(x), prior.decode(z), eps):
        assert 0.2 < signal.std() < 2
    assert (eps - prior.predict(z, level, text[[2, 1, 0]]).eps)[0].std() > 0.05
    assert prior.image_text is not None
    features = prior.image_text.image_features(x)
    assert (features[0] @ features[1]) < 0.98
    policy = TextPolicy(null_text=AdaptiveNegation())
    start = policy.start(prior, [{"prompt": "red apple"}] * 3)
    moved = policy.null_text.update(prior, start, step_state(x))
    assert (moved.null.tokens - start.null.tokens).abs().max() > 1e-4


SOLVERS = sorted(p.stem for p in (ROOT / "conf" / "solver").glob("*.yaml"))
OTHER_PRIORS = (  # of signals, or flows
    "ddnm", "ddrm", "diffpir", "dps", "red_diff", "projdiff", "projdiff_phase", "projdiff_hdr", "flair", "flowdps",
)  # fmt: skip
SHORTER = {  # what makes a solver with inner loops quick, and what one cannot do without
    "resample": ["solver.pixel.iterations=2", "solver.latent.iterations=2"],
    "daps": ["solver.mcmc_steps=2"],
    "daps_compat": ["solver.mcmc_steps=2"],
    "best_of": ["solver.candidates=2", "solver.of.steps=2"],
    "lmap": ["solver.adam.iterations=3"],
    "lmap_emoji64": ["solver.adam.iterations=3"],
    "stsl": ["solver.inner=2"],
    "latino_pro": ["prompt_rule=prompt_ascent", "solver.rounds=1", "solver.round_steps=2"],
}


@pytest.mark.parametrize("solver", OTHER_PRIORS)
def test_solvers_for_other_priors_say_so_before_any_weights(solver: str) -> None:
    with pytest.raises(ConfigError, match=r"^(prior|solver\.latent)="):
        Experiment.from_config(composed("experiment=single", "prior=tiny_random", f"solver={solver}", "data.limit=1"))


#: These differ from another one in a value or two.
VERSIONS = ("resample_compat", "daps_compat", "latino_compat", "lmap_emoji64", "ldps", "gml_dps")


@pytest.mark.parametrize(
    "solver",
    [
        pytest.param(name, marks=pytest.mark.slow if name in VERSIONS else ())
        for name in SOLVERS
        if name not in OTHER_PRIORS
    ],
)
def test_every_solver_runs_with_negation_and_all_metrics(solver: str, tmp_path: Path) -> None:
    steps = ["solver.steps=4"] if "steps" in composed(f"solver={solver}").solver else []
    edits = solver == "inversion"
    more = [*steps, *(["task=edit"] if edits else []), *SHORTER.get(solver, [])]
    chosen = ["experiment=study/treg", "prior=tiny_random", f"solver={solver}", *more, "metrics=default"]
    run(composed(*chosen, "data.limit=1", "logger=csv", f"run_dir={tmp_path}/r"))
    rows = read_rows(tmp_path / "r")
    texts = {"no_text", "own", "negation", "counterfactual", "random_caption", "style_word"}
    assert {row["variant"] for row in rows} == texts
    for row in rows:
        names = ("psnr", "ssim", "align_own", *(() if edits else ("residual",)))
        assert all(isinstance(row[name], float) for name in names)
