"""Files and settings that Hydra stumbles over: one line with the file or the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from tests.conftest import ROOT
from treg_exp.configuration.hydra_guard import check_hydra
from treg_exp.configuration.hydra_messages import explain, explain_plain
from treg_exp.errors import ConfigError
from treg_exp.experiment import Experiment

FILES = {
    b"seed: [1\nx: }": "line 2, column 2: expected ',' or ']', but got ':'",
    b"seed: 1\n\tx: 3": r"line 2, column 1: found character '\t' that cannot start any token",
    b"\xff\xfe\x00s": "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    b"seed: 1\nseed: 2": "line 2, column 1: found duplicate key seed",
    b"a: &a [*a]": "maximum recursion depth exceeded",
    b'seed: !!python/object/apply:os.system ["touch canary"]': "line 1, column 7: could not determine a constructor",
    b"seed: !!python/name:os.system": "line 1, column 7: could not determine a constructor",
}


def composed(*overrides: str):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("config", overrides=list(overrides), return_hydra_config=True)


def experiment_file(tmp_path: Path, text: bytes) -> list[str]:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/odd.yaml").write_bytes(text)
    return [f"hydra.searchpath=[file://{tmp_path}]", "experiment=odd"]


def test_a_null_text_without_quotes_is_told_how_to_write_it(tmp_path: Path) -> None:
    """In YAML the bare word null is no text, and it is a role of text here."""
    overrides = experiment_file(tmp_path, b"# @package _global_\nvariants:\n  a:\n    texts:\n      null: {x: 1}\n")
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed(*overrides)
    assert explain(caught.value, overrides) == (
        f"{tmp_path / 'experiment/odd.yaml'}: variants.a.texts: a key below is null, which is no text in YAML; "
        'write it in quotes, "null":'
    )


@pytest.mark.parametrize("text", FILES, ids=lambda text: FILES[text][:30])
def test_a_file_that_is_no_yaml_is_named_and_runs_nothing(text: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = experiment_file(tmp_path, text)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed(*overrides)
    said = explain_plain(caught.value, overrides)
    assert said is not None
    assert said.startswith(f"{tmp_path / 'experiment/odd.yaml'}: no valid YAML: {FILES[text]}")
    assert "\n" not in said
    assert not (tmp_path / "canary").exists()


def test_a_default_that_is_not_there(tmp_path: Path) -> None:
    overrides = experiment_file(tmp_path, b"defaults: [nowhere]")
    with pytest.raises(Exception, match="nowhere") as caught:
        composed(*overrides)
    assert explain(caught.value, overrides) == "In 'experiment/odd': Could not load 'experiment/nowhere'."


@pytest.mark.parametrize("text", [b"- a\n- b", b"just text", b"seed: 3"])
def test_an_experiment_that_does_not_say_where_it_belongs(text: bytes, tmp_path: Path) -> None:
    overrides = experiment_file(tmp_path, text)
    cfg = composed(*overrides)
    del cfg.hydra  # which a job does not see
    with pytest.raises(
        ConfigError, match=r"^experiment: nothing reads it; .* begins with the line '# @package _global_'$"
    ):
        Experiment.from_config(cfg)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+hydra.foo=1", r"^hydra\.foo: nothing reads it$"),
        ("+hydra.jobs.name=x", r"^hydra\.jobs: nothing reads it; did you mean job\?$"),
        ("+hydra.job.nme=1", r"^hydra\.job\.nme: nothing reads it; did you mean name\?$"),
        ("+hydra.sweeper.max_batch=1", r"^hydra\.sweeper\.max_batch: Grid takes no such value$"),
        ("+hydra.sweep.folder=1", r"^hydra\.sweep\.folder: nothing reads it$"),
    ],
)
def test_settings_of_hydra_that_nothing_reads(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_hydra(composed(override).hydra, [override])


def test_settings_that_hydra_reads() -> None:
    overrides = [
        "hydra.sweep.dir=x",
        "+hydra.job.env_set.A=1",
        "+hydra.sweeper.params.seed='1,2'",
        "hydra.verbose=true",
    ]
    check_hydra(composed(*overrides).hydra, overrides)


def test_a_multirun_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/x"):
        with pytest.raises(OSError, match="file") as caught:
            folder.mkdir()
        said = explain_plain(caught.value, ["-m", f"run_dir={folder}"])
        assert said is not None
        assert said.startswith(f"{folder}: ")
        assert said.endswith("; choose another run_dir")
        assert explain_plain(caught.value, []) is None


@pytest.mark.parametrize("given", ["+hydra.sweeper.params={seed: '1,2'}", "+hydra.sweeper.params.seed='1,2'"])
def test_what_hydra_cannot_put_into_null(given: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        composed("hydra/sweeper=basic", given)
    told = f"{given}: Hydra cannot put it into what is null; set it in a YAML file, see --config-dir"
    assert explain_plain(caught.value, [given]) == told
    overrides = experiment_file(tmp_path, b"# @package _global_\nhydra: {sweeper: {params: {seed: '1,2'}}}")
    assert composed(*overrides).hydra.sweeper.params.seed == "1,2"


def test_a_command_line_that_is_no_utf8() -> None:
    with pytest.raises(Exception, match="caf") as caught:
        composed("prompt=fixed", "prompt.text=caf\udcff")
    assert explain(caught.value, []) == (
        r"prompt.text=caf\udcff: is no valid UTF-8; use a terminal, or save the script, in UTF-8"
    )
