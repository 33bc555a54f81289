"""A training from its start or from where it was left, with what is written on the way."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from girih.checkpoints.convert import write_json
from girih.checkpoints.maps import Value, canonical_tensors
from girih.checkpoints.native import ORIGIN
from girih.checkpoints.source import Source, open_source
from girih.checkpoints.tokenizer import Tokenizer
from girih.engine.allocator import keep_freed
from girih.engine.load import placed, plain
from girih.engine.model import Model, causal
from girih.engine.threads import limit_threads
from girih.nn.build import allocate, build, canonical, fill
from girih.nn.weight import learn_in
from girih.plan import Plan
from girih.spec import Model as Spec
from girih.spec import SpecError, to_json
from girih.train import curve
from girih.train.checkpoint import read_notes, restore, save
from girih.train.data import Batches, Data
from girih.train.loop import Report, adamw, fit, measured
from girih.train.settings import Settings

Told = Callable[[Report, float | None], None]
"""Called after each step, with the loss of the held-out data where it was measured."""


def train(
    model: Spec | Source,
    data: Data,
    out: str | os.PathLike[str] | None = None,
    *,
    settings: Settings | None = None,
    plan: Plan | None = None,
    held_out: Data | None = None,
    tokenizer: Tokenizer | None = None,
    resume: bool = False,
    asked: Mapping[str, Any] | None = None,
    told: Told | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Model:
    """Learn data, from random weights of a spec or from those of a checkpoint; what came of it.

    Parameters are float32, products in the plan's dtype. In the folder `out` (a girih folder) there
    are checkpoints, metrics.csv and curve.png; with `resume` the training that is there goes on,
    and comes to the same as if it had never stopped. `asked` is noted with it. When `stop` says so,
    it ends after the step at hand, saved. Raises ValueError or OSError in one line.
    """
    limit_threads()
    keep_freed()
    settings, plan = settings or Settings(), placed(plan or Plan())
    spec = model.spec if isinstance(model, Source) else model
    check(spec, settings, [data, *([held_out] if held_out else [])])
    run = Run(spec, plan, settings, data.mark, out)
    if resume:
        run.resume()
    else:
        if isinstance(model, Source) and model.bounds:
            put(run.module, canonical_tensors(list(model.bounds)))
        origin = model.origin.to_json() if isinstance(model, Source) and model.origin else None
        run.begin(tokenizer, origin)
    batches = Batches(data, settings.batch, settings.seed, run.at)
    for report in fit(run.module, batches, run.optimiser, settings, run.step):
        last = stop() or report.step == settings.steps
        saved = last or report.step % settings.every == 0
        loss = measured(run.fresh(), held_out, settings.batch) if saved and held_out else None
        run.note(report, loss, batches.at)
        if saved:
            run.save(asked or {})
        if told is not None:
            told(report, loss)
        if last:
            break
    return Model(run.fresh(), tokenizer)


def check(spec: Spec, settings: Settings, given: list[Data]) -> None:
    """Raise ValueError where such a model cannot learn such data."""
    if not causal(spec):
        raise ValueError("tokens of this model see later ones: there is nothing to predict")
    if spec.context is not None and settings.context > spec.context:
        raise ValueError(f"context {settings.context:,} is above the model's {spec.context:,}")
    most, vocab = max(int(data.ids_N.max()) for data in given), spec.stacks[-1].input.vocab
    if most >= vocab or min(int(data.ids_N.min()) for data in given) < 0:
        raise ValueError(f"a token id of {most:,} is beyond the {vocab:,} rows of the embedding")


class Run:
    """A module that learns, its optimiser, how far it is and what was measured."""

    def __init__(
        self,
        spec: Spec,
        plan: Plan,
        settings: Settings,
        mark: str,
        out: str | os.PathLike[str] | None,
    ) -> None:
        self.spec, self.plan, self.settings, self.mark = spec, plan, settings, mark
        self.module = build(spec, plan, seed=settings.seed).to(plan.device)
        learn_in(self.module, getattr(torch, plan.compute))
        self.optimiser = adamw(self.module, settings)
        self.out = None if out is None else Path(out)
        self.step = self.at = 0
        self.seconds = 0.0
        self.rows: list[curve.Row] = []

    def begin(self, tokenizer: Tokenizer | None, origin: Mapping[str, Any] | None) -> None:
        """Make the folder, with all that does not change."""
        if self.out is None:
            return
        if os.path.lexists(self.out) and (not self.out.is_dir() or any(self.out.iterdir())):
            raise FileExistsError(
                f"{self.out}: already there and not empty; resume what is there or name a new one"
            )
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / "spec.json", to_json(self.spec))
        if origin is not None:
            write_json(self.out / ORIGIN, dict(origin))
        if tokenizer is not None:
            tokenizer.save(self.out)

    def resume(self) -> None:
        """Go back to the last checkpoint; raises ValueError where that is of something else."""
        if self.out is None:
            raise ValueError("to resume, name the folder of the training")
        notes, source = read_notes(self.out), open_source(self.out)
        if source.spec != self.spec:
            raise SpecError(f"{self.out}: the checkpoint is of another spec than the one given")
        if notes.get("data") != self.mark:
            raise ValueError(f"{self.out}: the data are not those that its training began with")
        if notes["step"] >= self.settings.steps:
            raise ValueError(
                f"{self.out}: all {notes['step']:,} steps are made; ask for more steps to go on"
            )
        put(self.module, canonical_tensors(list(source.bounds)))
        restore(self.out, self.module, self.optimiser)
        self.step, self.at, self.seconds = notes["step"], notes["at"], notes["seconds"]
        self.rows = curve.read_table(self.out, self.step)

    def note(self, report: Report, held_out: float | None, at: int) -> None:
        """Keep what a step did."""
        self.step, self.at, self.seconds = report.step, at, self.seconds + report.seconds
        measured = "" if held_out is None else f"{held_out:.6f}"
        row = (f"{report.loss:.6f}", measured, f"{report.rate:.6g}", f"{report.norm:.6g}")
        self.rows.append((str(report.step), *row, str(report.tokens), f"{report.seconds:.4f}"))

    def save(self, asked: Mapping[str, Any]) -> None:
        """Write a checkpoint, the table and the curve."""
        if self.out is None:
            return
        place = {"step": self.step, "at": self.at, "seconds": self.seconds, "data": self.mark}
        notes = {**place, "settings": asdict(self.settings), "asked": dict(asked)}
        save(self.out, self.module, self.optimiser, notes)
        curve.write_table(self.out, self.rows)
        curve.draw(self.out, self.rows)

    def fresh(self) -> nn.Module:
        """The module as it is run, of the weights as they are now: nothing in it is out of date."""
        with torch.no_grad():
            out = allocate(self.spec, self.plan, "meta")
            fill(out, canonical(self.module).items(), self.plan.device)
        return out.eval()


@torch.no_grad()
def put(module: nn.Module, weights: Iterable[tuple[str, Value]]) -> None:
    """Copy weights into the parameters of a module, widened to their dtype."""
    held = canonical(module)
    for name, value in weights:
        held[name].copy_(plain(value))  # type: ignore[union-attr]
