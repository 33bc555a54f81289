"""The pages in docs/ run as they stand, but for fewer steps."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

from command import ENV
from test_readme import shell

PAGE = (Path(__file__).parent.parent / "docs" / "compose.md").read_text("utf-8")
COMMAND = '#!/bin/sh\nexec {python} -m girih "$@"\n'


def blocks(kind):
    """The fenced blocks of a kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_about_composing_runs(tmp_path):
    first, *rest = blocks("python")
    few = "\n".join(rest).replace("steps=400", "steps=2")
    assert few.count("steps=2") == 1 and len(rest[0].splitlines()) <= 24
    text = first + "\ntexts = texts[:300]\n"
    (tmp_path / "text.py").write_text(text)
    (tmp_path / "girih").write_text(COMMAND.format(python=shlex.quote(sys.executable)))
    (tmp_path / "girih").chmod(0o755)
    python(tmp_path, text)
    strings = (tmp_path / "docstrings.txt").read_text().split("\f")
    assert len(strings) > 2000 and any("Return the" in one for one in strings)
    (tmp_path / "docstrings.txt").write_text("\f".join(strings[:300]))
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["new", "show", "train", "run"]
    for line in lines:
        done = shell(line.replace("--steps 400", "--steps 2"), tmp_path)
        assert done.returncode == 0 and done.stdout.strip(), (line, done.stdout, done.stderr)
    out = python(tmp_path, f"import pathlib\ntexts = {strings[:300]!r}\n{few}")
    assert "parameters" in out and re.search(r"^2 [\d.]+ [\d.]+$", out, re.MULTILINE), out


def python(folder, code):
    """What some code prints in a folder."""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=folder, env=ENV, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout
