"""`girih train`: weights for a spec, or better ones for a model, from texts."""

import argparse
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from girih.checkpoints.source import Source, open_source
from girih.checkpoints.text import tokenizer_of
from girih.checkpoints.tokenizer import Tokenizer
from girih.cli.console import Progress, say, warn
from girih.cli.main import INTERRUPTED
from girih.cli.options import ABOUT_MODEL, number, whole
from girih.plan import Plan
from girih.train import Data, Report, Settings, documents, train
from girih.train.checkpoint import read_notes
from girih.train.curve import MISSING, draws
from girih.train.data import texts
from girih.train.settings import SCHEDULES

EXAMPLES = """\
MODEL is a spec (girih new writes one), whose weights begin at random, or a model to be trained on.
OUT becomes a girih folder with metrics.csv and curve.png beside the weights; Ctrl-C saves it.

examples:
  girih train hybrid.json --text book.txt --out hybrid
  girih train hybrid.json --text *.txt --tokenizer bpe --steps 2000 --batch 8192 --out hybrid
  girih train hybrid --resume
  girih train sample --text notes.txt --lr 1e-5 --steps 50 --schedule constant --out tuned
"""

SETTINGS = {
    "steps": "steps",
    "batch": "batch",
    "accumulate": "accumulate",
    "context": "context",
    "lr": "rate",
    "warmup": "warmup",
    "schedule": "schedule",
    "decay": "decay",
    "clip": "clip",
    "seed": "seed",
    "every": "every",
}
"""What the settings of the loop are called here."""
REMEMBERED = ("text", "eval_text", "hold_out", "split", "tokenizer", "device", "dtype")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `girih train` takes."""
    about = f"a spec (FILE.json), {ABOUT_MODEL}"
    parser.add_argument("model", metavar="MODEL", help=about)
    parser.add_argument("--out", metavar="OUT", type=Path, help="the folder to write")
    parser.add_argument("--resume", action="store_true", help="go on with what is in OUT")
    group = parser.add_argument_group("what is learned")
    group.add_argument(
        "--text", metavar="FILE", nargs="+", help="texts, or .npy files of token ids"
    )
    group.add_argument("--split", metavar="TEXT", help="what stands between documents of a file")
    group.add_argument("--eval-text", metavar="FILE", nargs="+", help="texts to measure it with")
    share = "else such a share of the text is kept for that (default 0.02)"
    group.add_argument("--hold-out", type=number(0, 0.9), metavar="S", help=share)
    words = "`bytes` (default of a spec), `bpe` (learned, as large as the vocabulary), or a model"
    group.add_argument("--tokenizer", metavar="NAME", help=words)
    group.add_argument("--context", type=whole(1), metavar="N", help="tokens seen (default 256)")
    group = parser.add_argument_group("how")
    group.add_argument("--steps", type=whole(1), metavar="N", help="default 1000")
    group.add_argument("--batch", type=whole(1), metavar="N", help="tokens (default 4096)")
    group.add_argument("--accumulate", type=whole(1), metavar="N", help="batches of a step")
    group.add_argument("--lr", type=number(1e-12), metavar="R", help="default 1e-3")
    group.add_argument("--warmup", type=whole(0), metavar="N", help="steps (default 50)")
    group.add_argument("--schedule", choices=SCHEDULES, help="of the rate after it")
    group.add_argument("--decay", type=number(0), metavar="D", help="of matrices (default 0.1)")
    group.add_argument("--clip", type=number(1e-12), metavar="C", help="norm (default 1)")
    group.add_argument("--seed", type=whole(0), metavar="N", help="default 0")
    group.add_argument("--every", type=whole(1), metavar="N", help="steps (100) between saves")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1 (default: the best)")
    group.add_argument("--dtype", metavar="NAME", help="of products: float32 or bfloat16")


def command(arguments: argparse.Namespace) -> int:
    """Read, learn, say how it went."""
    out = Path(arguments.model) if arguments.out is None and arguments.resume else arguments.out
    if out is None:
        raise ValueError("--out is missing: name the folder that is to hold the model")
    asked = noted(out) if arguments.resume else {}
    mine = {name: getattr(arguments, name) for name in (*SETTINGS, *REMEMBERED)}
    asked |= {name: value for name, value in mine.items() if value is not None}
    if not asked.get("text"):
        raise ValueError("--text is missing: name at least one file to learn from")
    source = opened(arguments.model, out, arguments.resume)
    given = {SETTINGS[name]: asked[name] for name in SETTINGS if name in asked}
    usual = Settings()
    given.setdefault("context", min(usual.context, source.spec.context or usual.context))
    given.setdefault("batch", max(usual.batch, given["context"]))
    settings = Settings(**given)
    with Progress("reading the texts"):
        tokenizer = tokenizer_for(source, asked)
        learned, held = data_of(asked, tokenizer, settings.context)
    plan = Plan(**{name: asked[name] for name in ("device", "dtype") if name in asked})
    with Progress("training") as progress, asked_to_stop() as stop:
        shown = Shown(progress, settings)
        train(
            source,
            learned,
            out,
            settings=settings,
            plan=plan,
            held_out=held,
            tokenizer=tokenizer,
            resume=arguments.resume,
            asked=asked,
            told=shown,
            stop=lambda: bool(stop),
        )
    if not draws():
        warn(f"girih: note: {MISSING}")
    if shown.last.step < settings.steps:
        say(f"{out}: saved at step {shown.last.step:,}; to go on: girih train {out} --resume")
        return INTERRUPTED
    say(f"{out}: {settings.steps:,} steps{shown.result()}; to speak with it: girih run {out} TEXT")
    return 0


def noted(out: Path) -> dict[str, Any]:
    """What the training in a folder was asked for."""
    found = read_notes(out).get("asked")
    return dict(found) if isinstance(found, dict) else {}


def opened(model: str, out: Path, resume: bool) -> Source:
    """What is to learn; weights are not needed where those of a checkpoint follow."""
    source = open_source(model, weights=False)
    return source if resume or source.kind == "spec" or not source.bounds else open_source(model)


def tokenizer_for(source: Source, asked: dict[str, Any]) -> Tokenizer | None:
    """The model's own tokenizer, or the one that is asked for; by default that of bytes."""
    name, vocab = asked.get("tokenizer"), source.spec.stacks[-1].input.vocab
    own = tokenizer_of(source) if source.kind != "spec" else None
    files = [path for path in asked["text"] if not path.endswith(".npy")]
    if own is not None or (name is None and not files):
        return own
    if name == "bpe":
        found: Tokenizer | None = Tokenizer.learned(texts(files, asked.get("split")), vocab)
    elif name in (None, "bytes"):
        found = Tokenizer.learned([], 0)
    else:
        found = tokenizer_of(open_source(name, weights=False))
    if found is None:
        raise ValueError(f"--tokenizer {name}: it has no tokenizer")
    if found.vocab_size > vocab:
        raise ValueError(
            f"the tokenizer has {found.vocab_size:,} tokens, the embedding only {vocab:,} rows"
        )
    return found


def data_of(
    asked: dict[str, Any], tokenizer: Tokenizer | None, context: int
) -> tuple[Data, Data | None]:
    """What is learned, and what it is measured by."""
    split = asked.get("split")
    learned = Data.of(documents(asked["text"], tokenizer, split), context)
    if asked.get("eval_text"):
        return learned, Data.of(documents(asked["eval_text"], tokenizer, split), context)
    return learned.split(asked.get("hold_out", 0.02))


class Shown:
    """The steps as they go by: a bar on a terminal, a line for each measure elsewhere."""

    def __init__(self, progress: Progress, settings: Settings) -> None:
        self.progress, self.settings = progress, settings
        self.last: Report
        self.held: float | None = None
        self.speed = 0.0

    def __call__(self, report: Report, held: float | None) -> None:
        """Show a step."""
        speed = report.tokens / report.seconds
        self.speed = 0.9 * self.speed + 0.1 * speed if self.speed else speed
        self.last = report
        self.held = held if held is not None else self.held
        ended = report.step == self.settings.steps
        if self.progress.bar is not None:
            self.progress(report.step, self.settings.steps, self.line())
        elif ended or held is not None or report.step % self.settings.every == 0:
            warn(self.line())

    def line(self) -> str:
        """Where it is, in words."""
        left = (self.settings.steps - self.last.step) * self.last.tokens / self.speed
        minutes, seconds = divmod(round(left), 60)
        held = "" if self.held is None else f", held out {self.held:.3f}"
        return (
            f"step {self.last.step:,} of {self.settings.steps:,}: loss {self.last.loss:.3f}{held}, "
            f"{self.speed:,.0f} tokens/s, rate {self.last.rate:.2g}, {minutes}:{seconds:02} left"
        )

    def result(self) -> str:
        """What came of it."""
        held = "" if self.held is None else f", {self.held:.3f} on held-out text"
        return f", loss {self.last.loss:.3f}{held}"


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C is pressed; the second time it interrupts at once."""
    pressed: list[int] = []

    def note(number: int, _: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
