"""Advice that is pasted into a shell gives the text that was meant, and runs nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from tests.conftest import ROOT
from treg_exp.configuration.hydra_messages import explain
from treg_exp.configuration.settings import resolved
from treg_exp.errors import ConfigError
from treg_exp.quoting import meant, quoted_override, shell

PROGRAM = """
import json, sys
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

with initialize_config_dir(sys.argv[1], version_base="1.3"):
    print(json.dumps([compose("config", overrides=[override]).prompt.text for override in sys.argv[2:]]))
"""
#: Hydra cannot read these as they are; from the message alone a user has to get on.
REFUSED = [
    "a red, round apple", 'say "hi", you', "it's", "it's \"x\", \\", "a, ends in \\", 'a,"\\', "`touch canary`",
    "$(touch canary), x", "cost $5, or so", "${", "a, ${", "a ${x} b", "${x}", "a=b", "[a", "{a}",
    "(a", "a)", '"quoted', "'quoted", '"a" b', '"a" and "b"', "a; touch canary", "!x", "~", "#a", "a\nb,", "a\tb,",
    "x\\\\,", "é, 猫", '"', "a && touch canary, b", "null, 3", "*, ?", "$'x'",
]  # fmt: skip
FURTHER = [
    "",
    "\\\\${x} \\",
    " a ",
    "\\",
    "null",
    "3",
    "true",
    "a\\, b",
    '\\"',
    '${a:"b"}',
    "%s",
    "-m",
    "\x1b[0m",
    "${oc.env:HOME}",
]


def message_for(conf: Path, text: str) -> str:
    """What is said about a prompt that cannot be read."""
    override = f"prompt.text={text}"
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            compose("config", overrides=[override])
    except (HydraException, OmegaConfBaseException) as error:
        return explain(error, [override])
    with pytest.raises(ConfigError) as caught, initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        resolved(compose("config", overrides=["prompt=fixed", override]))
    return str(caught.value)


def advice(conf: Path, text: str) -> str:
    """What that message says to write."""
    message = message_for(conf, text)
    assert "\n" not in message
    return message.partition(" is written ")[2].removesuffix("; without the backslash, ${ begins another value")


def test_advice_that_is_pasted_into_a_shell(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    conf = tmp_path / "conf"  # small, because Hydra composes it a hundred times
    conf.mkdir()
    (conf / "config.yaml").write_text("prompt: {text: x}\n")
    words = [advice(conf, text) for text in REFUSED] + [quoted_override("prompt.text", text) for text in FURTHER]
    command = f"{shlex.quote(sys.executable)} program.py {shlex.quote(str(conf))} {' '.join(words)}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [*REFUSED, *FURTHER]
    assert not (tmp_path / "canary").exists()


def test_what_somebody_meant() -> None:
    assert meant('"a, \\"') == "a, \\"
    assert meant("'it\"s'") == 'it"s'
    for whole in ('"a" and "b"', '"a', "a'", '"', ""):
        assert meant(whole) == whole


def test_words_of_the_shell_are_one_line() -> None:
    assert shell("a=b") == "a=b"
    assert shell("it's\n\x7f\\") == "$'it\\'s\\x0a\\x7f\\\\'"
