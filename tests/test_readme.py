"""What the README and CONTRIBUTING say: their commands run, their tables and paths are true."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from girih.cli import explore
from girih.cli.main import parser_for
from girih.cli.stats import stats_line

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_HUB_OFFLINE": "1"}
ENV |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "100"}

# The command of the README, which answers here with a few tokens.
FEW_TOKENS = """\
#!/bin/sh
case $1 in run|chat) set -- "$@" --max-tokens 3 ;; esac
exec {python} -m girih "$@"
"""


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def lines() -> list[str]:
    """The commands that a reader would copy."""
    return [line for block in blocks("sh") for line in block.splitlines()]


def shown(command: str) -> str:
    """The output that the README shows for a command."""
    pattern = rf"^```sh\n{re.escape(command)}\n```\n.*?^```text\n(.*?)^```"
    found = re.search(pattern, README, re.DOTALL | re.MULTILINE)
    assert found, f"the README shows no output of {command}"
    return found[1]


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line as a reader's shell would run it in a folder, with something to say on its input."""
    command = f"set -o pipefail; {command}"
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=ENV | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"},
        input="Hello!\n",
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder in which `girih` is a command, with the start of a text that README names."""
    made = tmp_path_factory.mktemp("reader")
    (made / "LICENSE").write_text((ROOT / "LICENSE").read_text()[:800])
    (made / "girih").write_text(FEW_TOKENS.format(python=shlex.quote(sys.executable)))
    (made / "girih").chmod(0o755)
    return made


def test_every_command_of_the_readme_runs(folder: Path) -> None:
    commands = [line for line in lines() if not line.startswith("make ")]
    for name in ("show", "run", "chat", "convert", "eval", "explain", "new", "train", "compare"):
        assert any(f"girih {name} " in line for line in commands), f"no example of {name}"
    for command in commands:
        done = shell(command, folder)
        assert done.returncode == 0 and done.stdout.strip(), (command, done.stdout, done.stderr)


def test_commands_within_sentences_parse() -> None:
    inline = re.findall(
        r"`girih ((?:show|run|chat|convert|eval|explain|new|train|compare|explore) [^`]+)`",
        README + CONTRIBUTING,
    )
    for line in inline:
        words = shlex.split(line)
        parser_for(words)[0].parse_args(words)
    assert inline


def test_the_drawing_is_what_show_prints(folder: Path) -> None:
    command = "girih show sample --context 8192 --batch 4"
    now, then = shell(command, folder).stdout.splitlines(), shown(command).splitlines()
    assert now[1].split(":")[0] == then[1].split(":")[0] and Path(now[1]).name == Path(then[1]).name
    assert now[:1] + now[2:] == then[:1] + then[2:]


def test_make_ask_ends_with_the_line_it_prints() -> None:
    times = SimpleNamespace(prefill_tps=1.0, decode_tps=1.0)
    counts = dict(prompt_tokens=1, cached_tokens=0, proposed_tokens=0, tokens=(1,))
    result = SimpleNamespace(times=times, **counts)
    last = shown("make ask").splitlines()[-1]
    assert without_numbers(last) == without_numbers(stats_line(result, 1.0))


def test_make_run_ends_with_the_address(capsys) -> None:
    explore.shown("127.0.0.1", "http://127.0.0.1:7420/")
    assert shown("make run") == capsys.readouterr().out


def without_numbers(line: str) -> str:
    """The words of a line."""
    return re.sub(r"\d[\d.,]*( [KMG]i)?", "#", line)


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = re.findall(r"(?:^|`|\$ )make ([a-z-]+)", README + CONTRIBUTING, re.MULTILINE)
    assert {"run", "test", "lint"} <= set(named) <= targets


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    code = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    printed = re.findall(r"print\(.*\)  # (.+)", code)
    lines = iter(done.stdout.splitlines())
    assert printed and all(line in lines for line in printed), "in this order"
    assert "Paris" in done.stdout


def test_the_table_is_what_the_code_says() -> None:
    place = ROOT / "docs" / "what_runs.py"
    found = importlib.util.spec_from_file_location("what_runs", place)
    assert found is not None and found.loader is not None
    what_runs = importlib.util.module_from_spec(found)
    found.loader.exec_module(what_runs)
    stands = what_runs.PLACE.search(README)
    assert stands, "the README has no place for the table"
    assert stands[0] == stands[1] + what_runs.table() + stands[2], "run: make table"


def test_files_that_are_named_exist() -> None:
    rows = [line for line in CONTRIBUTING.splitlines() if line.startswith("|")]
    named = re.findall(r"`([\w/<>.]+(?:/|\.py|\.md|\.txt))`", "\n".join(rows))
    named += re.findall(r"\]\((?!http)([^)#]+)\)", README + CONTRIBUTING)
    assert len(named) > 15
    for name in named:
        pattern = re.sub(r"<\w+>", "*", name).rstrip("/")
        places = [*ROOT.glob(pattern), *(ROOT / "src" / "girih").glob(pattern)]
        assert places, f"{name} is named and does not exist"
