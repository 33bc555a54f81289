"""The tiny trained models in src/girih/samples, made by `girih new` and `girih train` on the CPU.

`make samples` makes them all (about 40 minutes of one core), `python docs/samples.py ID ...`
some. The text is the six novels of Jane Austen (1811 to 1817, in the public domain) as Debian's
package r-cran-janeaustenr carries them; its last two chapters of Persuasion are kept aside.
"""

import json
import math
import re
import resource
import shlex
import shutil
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from girih.checkpoints.source import open_source
from girih.checkpoints.text import tokenizer_of

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "src" / "girih" / "samples"
WORK = ROOT / "docs" / ".samples"
PACKAGE = "r-cran-janeaustenr"
NOVELS = "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb"
ASIDE, CHAPTERS = "Persuasion", 2
"""The novel whose last chapters no sample learns from."""
TEXT = (
    "Jane Austen's six novels (1811 to 1817, public domain), as in Debian's package "
    "r-cran-janeaustenr, but for the last two chapters of Persuasion"
)
PROMPT = "Elizabeth looked at Mr. Darcy; and Mr. Darcy looked at Elizabeth."
HELD_OUT = "held-out.txt"
ABOUT_HELD_OUT = "the last two chapters of Persuasion"
WINDOW = 512
"""Tokens that are predicted from each other when the loss is measured: the context."""
HOW = "--tokenizer bpe --context 256 --batch 1024 --lr 6e-3 --warmup 100 --every 400"
"""Short pieces first, since many small steps learn fastest."""
THEN = f"--context {WINDOW} --batch 2048 --lr 2e-3 --warmup 20 --every 100"
"""And a while of the whole context, past which rotary positions mean nothing."""
MOST = 1_000_000
"""Bytes of a sample at most."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a sample is, and the words that make it."""

    about: str
    new: str
    steps: int = 1500
    """Of short pieces."""
    more: int = 100
    """Of the whole context."""


GQA = "--width 96 --layers 4 --heads 6 --kv-heads 2 --context 512"
RECIPES = {
    "tiny-gqa": Recipe(
        "Dense attention: six query heads share two of keys and values.",
        GQA,
        steps=2200,
        more=300,
    ),
    "tiny-window": Recipe(
        "Three layers see the last 16 tokens, the fourth sees them all.",
        f'{GQA} --mixer "window(16):3,attention:1"',
    ),
    "tiny-grouped": Recipe(
        "Each window of 16 tokens sees itself and one representative of every other.",
        f'{GQA} --mixer "grouped(16)"',
    ),
    "tiny-latent": Recipe(
        "Latent attention: keys and values of six heads are kept as 32 + 8 numbers.",
        '--width 96 --layers 4 --heads 6 --hidden 224 --context 512 --mixer "latent(32)"',
    ),
    "tiny-experts": Recipe(
        "A mixture: of eight experts two read a token, and a shared one reads every token.",
        "--width 64 --layers 4 --heads 4 --kv-heads 2 --hidden 96 --experts 8:2:1 --context 512",
    ),
    "tiny-mamba": Recipe(
        "Selective scans alone: no attention, a state that does not grow.",
        '--width 96 --layers 6 --hidden 0 --context 512 --mixer "mamba(16)"',
        steps=1200,
    ),
    "tiny-hybrid": Recipe(
        "Three state-space layers, then one of attention.",
        f'{GQA} --hidden 160 --mixer "mamba2(16):3,attention:1"',
        steps=1200,
    ),
}


def main(asked: list[str]) -> None:
    """Make the samples that are asked for, or all of them."""
    unknown = [name for name in asked if name not in RECIPES]
    if unknown:
        sys.exit(f"samples: {unknown[0]}: no recipe; known: {', '.join(RECIPES)}")
    WORK.mkdir(exist_ok=True)
    PLACE.mkdir(exist_ok=True)
    read = write_texts()
    for name in asked or RECIPES:
        make(name, RECIPES[name], read)


def make(name: str, recipe: Recipe, read: list[str]) -> None:
    """Compose, train, store in two bytes a number, measure, note."""
    out = PLACE / name
    for old in (WORK / f"{name}-short", WORK / name, out):
        shutil.rmtree(old, ignore_errors=True)
    compose = f"girih new {name}.json {recipe.new}"
    learn = f"girih train {name}.json {HOW} --steps {recipe.steps} --out {name}-short"
    go_on = f"girih train {name}-short {THEN} --steps {recipe.more} --out {name}"
    began = cpu_minutes()
    girih(compose, "--force")
    for words in (learn, go_on):
        girih(words, "--text", *read, "--eval-text", HELD_OUT)
    minutes = cpu_minutes() - began
    girih(f"girih convert ./{name} {out} --to girih --dtype bfloat16")
    measure = f"girih eval {out} {HELD_OUT} --window {WINDOW} --mode exact --json"
    told = json.loads(girih(measure))
    texts = f"--text NOVELS --eval-text {HELD_OUT}"
    notes = {
        "about": recipe.about,
        "prompt": PROMPT,
        "text": TEXT,
        "held_out": f"{HELD_OUT}: {ABOUT_HELD_OUT}",
        "commands": [compose, f"{learn} {texts}", f"{go_on} {texts}"],
        "steps": recipe.steps + recipe.more,
        "minutes": round(minutes, 1),
        "loss": round(told["nats"], 4),
        "unigram": round(unigram(out), 4),
        "window": WINDOW,
    }
    (out / "sample.json").write_text(json.dumps(notes, indent=2) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in out.iterdir())
    assert size <= MOST, f"{name}: {size:,} bytes are above {MOST:,}"
    print(f"{name}: loss {notes['loss']}, {size:,} bytes, {minutes:.1f} minutes", flush=True)


def cpu_minutes() -> float:
    """Minutes of a core that the commands have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def unigram(folder: Path) -> float:
    """Nats of a held-out token to whoever knows how often each comes there, and no more."""
    tokenizer = tokenizer_of(open_source(folder))
    assert tokenizer is not None
    counts = Counter(tokenizer.encode((PLACE / HELD_OUT).read_text(encoding="utf-8")))
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())


def girih(words: str, *more: str) -> str:
    """What a command of girih prints, its progress shown as it comes."""
    command = [sys.executable, "-m", *shlex.split(words), *more]
    return subprocess.run(command, cwd=WORK, check=True, text=True, stdout=subprocess.PIPE).stdout


def write_texts() -> list[str]:
    """The novels as files, a line for each paragraph, and what is kept aside; their names."""
    names = []
    for lines in novels():
        title, text = lines[0], "\n".join(paragraphs(lines))
        if title == ASIDE:
            parts = re.split(r"(?=^Chapter \d+$)", text, flags=re.MULTILINE)
            text = "".join(parts[:-CHAPTERS])
            (PLACE / HELD_OUT).write_text("".join(parts[-CHAPTERS:]), encoding="utf-8")
        names.append(title.replace(" ", "-").lower() + ".txt")
        (WORK / names[-1]).write_text(text + "\n", encoding="utf-8")
    shutil.copy(PLACE / HELD_OUT, WORK)
    return names


def paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines joined up to the next empty one."""
    held: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            held += line.split()
        elif held:
            yield " ".join(held)
            held = []


def novels() -> Iterator[list[str]]:
    """The lines of each novel: a data file of R is compressed parts, each behind its length."""
    deb = next(WORK.glob(f"{PACKAGE}_*.deb"), None)
    if deb is None:
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=WORK, check=True)
        deb = next(WORK.glob(f"{PACKAGE}_*.deb"))
    subprocess.run(["dpkg-deb", "-x", deb, WORK / "text"], check=True)
    rest = (WORK / "text" / NOVELS).read_bytes()
    while rest:
        part = zlib.decompressobj()
        yield list(strings(part.decompress(rest[4:])))
        rest = part.unused_data


def strings(data: bytes) -> Iterator[str]:
    """A vector of strings in R's serialised form: its header, then flags, length and bytes of each.

    Source: the R Internals manual, "Serialization Formats".
    """
    at = 14 + 4 + struct.unpack_from(">I", data, 14)[0]
    kind, count = struct.unpack_from(">II", data, at)
    assert kind & 0xFF == 16, "not a vector of strings"
    at += 8
    for _ in range(count):
        length = struct.unpack_from(">I", data, at + 4)[0]
        yield data[at + 8 : at + 8 + length].decode("utf-8")
        at += 8 + length


if __name__ == "__main__":
    main(sys.argv[1:])
