"""What a spec with a few changed fields costs: no model is built."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from girih.explore.describe import default_context, spec_info
from girih.explore.edits import MOST_LAYERS, FieldError, edited
from girih.explore.formulas import Use
from girih.explore.totals import contexts_up_to, curve
from girih.spec import Model, SpecError, format_of, from_json, to_json
from girih.spec.base import NODES, hints, show
from girih.spec.cost import held_in
from girih.spec.formats import state_format

MOST_CONTEXT, MOST_BATCH = 2**30, 2**20
MULTIPLE = re.compile(r"(\w+) (\d+) is not a multiple of (\w+) (\d+)")


def price(
    spec: Model | Mapping[str, Any],
    edits: Sequence[Mapping[str, Any]] = (),
    *,
    id: str = "",
    label: str = "",
    formats: Mapping[str, str] | None = None,
    context: int | None = None,
    batch: int = 1,
    state: str = "bfloat16",
    weights: str | None = None,
    sources: int = 0,
) -> dict[str, Any]:
    """A spec, or its JSON, as the page shows it once `edits` are made, with a curve of its state.

    `formats` are those of the spec as it is stored: what is edited keeps them as far as it can;
    `weights` is one format for all instead. Raises FieldError, a SpecError with the `path` of the
    field, for what cannot be.
    """
    made = made_of(spec, edits)
    layers = max(len(stack.layers) for stack in made.stacks)
    if layers > MOST_LAYERS:
        many = f"{layers:,} are more than the {MOST_LAYERS:,} that are shown"
        raise FieldError("$.stacks[0].layers", f"$.stacks[0].layers: {many}")
    limited("context", context, MOST_CONTEXT)
    limited("batch", batch, MOST_BATCH)
    limited("sources", sources, MOST_CONTEXT, least=0)
    held = storage(made, formats, weights)
    tokens = default_context(made) if context is None else context
    use = Use(context=tokens, batch=batch, state=kept_in(state), sources=sources)
    most = min(max(tokens, made.context or 0, default_context(made)), MOST_CONTEXT)
    try:
        info = spec_info(made, id=id, label=label, formats=held, **asdict(use))
        return info | {"curve": curve(made, contexts_up_to(most), use)}
    except ArithmeticError:
        raise FieldError("$", "$: its numbers are too large or too small to compute with") from None


STATES = ("float32", "bfloat16", "float16", "int8", "int4")
"""The formats in which the engine keeps states."""


def kept_in(state: object) -> str:
    """The format of a state by its name; raises FieldError for what is none."""
    found = None
    with contextlib.suppress(SpecError):
        found = state_format(state).name if isinstance(state, str) else None
    if found not in STATES:
        raise FieldError("state", f"state: {show(state)} is none of {', '.join(STATES)}")
    return found


def made_of(spec: Model | Mapping[str, Any], edits: Sequence[Mapping[str, Any]]) -> Model:
    """The spec with its edits; raises FieldError with the field that is to blame."""
    if isinstance(spec, Model) and not edits:
        return spec
    data = to_json(spec) if isinstance(spec, Model) else spec
    if not isinstance(data, Mapping):
        raise FieldError("$", f"$: {show(data)} is not an object")
    try:
        return from_json(edited(dict(data), edits))
    except FieldError:
        raise
    except RecursionError:
        raise FieldError("$", "$: nested deeper than any model is") from None
    except SpecError as error:
        raise blamed(str(error), [str(edit["path"]) for edit in edits]) from None


def blamed(line: str, edits: Sequence[str]) -> FieldError:
    """The error with the path of the field that it is about: an edited one where that is told."""
    found = re.match(r"\$[\w.\[\]]*", line)
    path = found[0] if found else "$"
    reason = line[len(path) :].lstrip(": ")
    under = [edit for edit in edits if plain(edit).startswith(plain(path))]
    same = [edit for edit in under if plain(edit) == plain(path)]
    named = same or [edit for edit in under if re.search(rf"\b{edit.rpartition('.')[2]}\b", reason)]
    word = re.match(r"\w+", reason)
    fields = {name for cls in NODES.values() for name in hints(cls)}  # type: ignore[arg-type]
    if len(named) == 1:
        path = named[0]
    elif word and word[0] in fields and not path.endswith(f".{word[0]}"):
        path = f"{path}.{word[0]}"
    return FieldError(path, line + divisors(line))


def plain(path: str) -> str:
    """A path in which entries of lists have lost which they are."""
    return re.sub(r"\[[^\]]*\]", "[]", path)


def divisors(line: str) -> str:
    """What would divide, where something does not."""
    found = MULTIPLE.search(line)
    if not found or int(found[2]) > 10**6:
        return ""
    many = int(found[2])
    fits = [str(one) for one in range(1, many + 1) if many % one == 0]
    few = fits if len(fits) <= 12 else [*fits[:6], "...", *fits[-5:]]
    return f"; {found[3]} may be {', '.join(few)}"


def limited(name: str, value: object, most: int, least: int = 1) -> None:
    """Raise FieldError unless a number of the request is a whole one within bounds."""
    if value is None:
        return
    if type(value) is not int or not least <= value <= most:
        raise FieldError(
            name, f"{name}: {show(value)} is not a whole number from {least} to {most:,}"
        )


def storage(spec: Model, formats: Mapping[str, str] | None, weights: str | None) -> dict[str, str]:
    """The storage format of each tensor: as it is stored, like its namesakes, or `weights`."""
    if weights is not None:
        try:
            wanted = format_of(weights).name
        except (SpecError, AttributeError) as error:
            raise FieldError("weights", f"weights: {error}") from None
        return {name: held_in(one, wanted).name for name, one in spec.tensors().items()}
    known = formats or {}
    alike = {local(name): form for name, form in known.items()}
    other = next(iter(known.values()), "bfloat16")
    return {
        name: held_in(one, known.get(name) or alike.get(local(name)) or other).name
        for name, one in spec.tensors().items()
    }


def local(name: str) -> str:
    """The name of a tensor inside its layer, or its own where it is in none."""
    return name.rpartition(".layers.")[2].partition(".")[2] or name
