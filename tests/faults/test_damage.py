"""Files of a sweep that are damaged or empty: each is one clear line, and nothing is lost."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.faults.sweeps import Found, check_complete, check_sound, found_rows, states, sweep_of, table
from tests.nursery import Nursery
from treg_exp.engine.status import read_status
from treg_exp.errors import ConfigError
from treg_exp.sweeps.overview import show

DATA_OF_ALL = ["seed=1,2", "data.limit=2", "solver.steps=1"]


@pytest.fixture(scope="module")
def made(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two jobs."""
    folder = tmp_path_factory.mktemp("made") / "s"
    assert nursery.run(sweep_of(folder, *DATA_OF_ALL)).code == 0
    return folder


@pytest.fixture
def sweep(made: Path, tmp_path: Path) -> tuple[Path, Found]:
    """A copy of it, with its rows."""
    shutil.copytree(made, tmp_path / "s")
    return tmp_path / "s", found_rows(tmp_path / "s")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "\x00" * 40,
        b"\xff\xfe",
        '{"state": "finished", "finished": "many"}',
        '{"expected": [1]}',
        '{"finished": Infinity}',
    ],
)
def test_a_damaged_status_is_a_failed_job(sweep: tuple[Path, Found], content: str | bytes, capsys) -> None:
    folder, _ = sweep
    file = next(folder.glob("*/status.json"))
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    broken = read_status(file.parent)
    assert broken.state == "failed"
    assert "status.json is damaged" in broken.error
    assert show(folder) == 1
    assert "1 failed, 1 finished" in capsys.readouterr().out


def test_damaged_files_of_jobs_are_made_anew(nursery: Nursery, sweep: tuple[Path, Found]) -> None:
    """A status, and what the folder is; a job whose configuration is damaged says what to do."""
    folder, kept = sweep
    first, second = (line.folder for line in table(folder))
    (first / "status.json").write_text("{")
    (first / "identity.json").write_text("")
    (second / "status.json").unlink()
    (second / "identity.json").unlink()
    child = nursery.run(sweep_of(folder, *DATA_OF_ALL))
    assert child.code == 0, child.text
    assert child.text.count("nothing to do: ") == 2
    assert check_sound(folder, kept, 1) == kept
    check_complete(folder, 2, 2)


@pytest.mark.parametrize("cuts", [("", 300), ("- a\n- b: {", -40)])
def test_a_damaged_configuration_of_a_job(nursery: Nursery, sweep: tuple[Path, Found], cuts: tuple[str, int]) -> None:
    """Empty, no YAML, cut off in the middle and near its end, where it is YAML still: one line, and rows stay."""
    folder, kept = sweep
    first, second = (line.folder for line in table(folder))
    texts = {job: (job / "job.yaml").read_text() for job in (first, second)}
    for job in (first, second):
        (job / "status.json").unlink()
    (first / "job.yaml").write_text(cuts[0])
    (second / "job.yaml").write_text(texts[second][: cuts[1]])
    child = nursery.run(sweep_of(folder, *DATA_OF_ALL))
    assert child.code == 2, child.text
    assert "Traceback" not in child.text
    assert states(folder) == {"failed": 2}
    assert found_rows(folder) == kept
    assert re.search(r"job\.yaml is damaged: .*; delete it and give the command", read_status(first).error)
    told = read_status(second).error
    assert re.search(r"job\.yaml is damaged: |: is missing|holds a run with|has no value", told), told
    for job in (first, second):
        (job / "job.yaml").unlink()
    assert nursery.run(sweep_of(folder, *DATA_OF_ALL)).code == 0
    assert {job: (job / "job.yaml").read_text() for job in texts} == texts
    assert check_sound(folder, kept, 1) == kept
    check_complete(folder, 2, 2)


@pytest.mark.parametrize("content", ["", '{"jobs": [{"id": 1}]}', '{"jobs": 3}', '{"jobs": [], "launching": 3}'])
def test_a_damaged_manifest_is_refused_and_can_be_made_anew(
    nursery: Nursery, sweep: tuple[Path, Found], content: str
) -> None:
    folder, kept = sweep
    before = [job["id"] for job in json.loads((folder / "sweep.json").read_text())["jobs"]]
    (folder / "sweep.json").write_text(content)
    with pytest.raises(ConfigError, match=r"sweep\.json is damaged: .*; delete it and give the command"):
        table(folder)
    if content:
        return
    child = nursery.run(sweep_of(folder, *DATA_OF_ALL))
    assert child.code == 2
    assert child.text.count("\n") == 1
    assert re.match(r"error: .*sweep\.json is damaged: .*; delete it", child.text)
    (folder / "sweep.json").unlink()
    child = nursery.run(sweep_of(folder, *DATA_OF_ALL))
    assert child.code == 0, child.text
    assert [job["id"] for job in json.loads((folder / "sweep.json").read_text())["jobs"]] == before
    assert check_sound(folder, kept, 1) == kept
    check_complete(folder, 2, 2)


def test_pictures_that_somebody_has_deleted_are_no_business_of_the_sweep(
    nursery: Nursery, sweep: tuple[Path, Found]
) -> None:
    """A finished job costs nothing on a rerun, not a look at its pictures; the job itself looks at all of them."""
    folder, kept = sweep
    job = table(folder)[0].folder
    for file in job.glob("samples/*/*/reconstruction.png"):
        file.unlink()
    assert nursery.run(sweep_of(folder, *DATA_OF_ALL)).code == 0
    assert not list(job.glob("samples/*/*/reconstruction.png"))
    child = nursery.start([str(job)], call="tests.faults.imitated:run_job")
    assert child.wait() == 0, child.text
    assert "damaged or missing, done again: 2 of 2" in child.text
    assert found_rows(folder).keys() == kept.keys()
    check_complete(folder, 2, 2)
