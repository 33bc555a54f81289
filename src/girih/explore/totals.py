"""What a whole model costs, each number with the parts that it is the sum of."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from girih.explore.formulas import Inputs, Use, kept, slot_bytes
from girih.explore.numbers import Num, computed, summed
from girih.spec import Cost, Flops, Model, Slot, Tensor, cost
from girih.spec.cost import bytes_by_format, held_in, state_bytes
from girih.spec.formats import Format, state_format

HERE = "girih/spec/cost.py"


def formats_of(tensors: Mapping[str, Tensor], name: str) -> dict[str, str]:
    """One storage format for every tensor that it can hold, float32 for others."""
    return {tensor: held_in(one, name).name for tensor, one in tensors.items()}


def totals(spec: Model, formats: Mapping[str, str], use: Use) -> dict[str, Num]:
    """The cost of a model by name, as the page shows it."""
    counted = cost(
        spec,
        context=use.context,
        batch=use.batch,
        weights=formats,
        state=use.state,
        sources=use.sources,
    )
    tensors = spec.tensors()
    out = {"parameters": summed(by_place(spec), "params", f"{HERE} parameters")}
    out["active_parameters"] = active(counted)
    mix = bytes_by_format(tensors, formats)
    out["weight_bytes"] = summed(mix, "B", f"{HERE} weight_bytes")
    out |= remembered(spec, counted, use)
    out["memory"] = summed(
        {"weights": counted.weight_bytes, "state": counted.state_bytes}, "B", HERE
    )
    out |= worked(counted)
    return out | read(counted)


def active(counted: Cost) -> Num:
    """The parameters that take part in the computation of one token."""
    whole, part = counted.parameters, counted.active_parameters
    if whole == part:
        return computed(part, "params", "parameters", {"parameters": whole}, f"{HERE} idle")
    inputs = {"parameters": whole, "idle": whole - part}
    note = "idle: of the experts that a token does not go to"
    return computed(part, "params", "parameters - idle", inputs, f"{HERE} idle", note)


def by_place(spec: Model) -> dict[str, int]:
    """The parameters of each part of a model: its tables, layers, last norm and head."""
    out: dict[str, int] = {}
    several = len(spec.stacks) > 1
    for stack in spec.stacks:
        for name, tensor in stack.tensors().items():
            place = "layers" if name.startswith("layers.") else name.removesuffix(".weight")
            key = f"{stack.name}_{place}" if several else place
            key = key.replace(".", "_")
            out[key] = out.get(key, 0) + tensor.numel
    return out


def growing(spec: Model) -> Counter[Slot]:
    """How often each slot occurs in a model."""
    return Counter(slot for slots in spec.state().values() for slot in slots)


def kind_of(slot: Slot) -> str:
    """How a slot grows, in one word."""
    if slot.fixed:
        return "fixed"
    if slot.once:
        return "source"
    if slot.every > 1:
        return "representatives"
    return "latent" if slot.name == "latent" else "growing" if slot.window is None else "window"


def by_kind(slots: Mapping[Slot, int], use: Use) -> dict[str, int]:
    """The bytes that one sequence leaves, by how they grow."""
    out: dict[str, int] = {}
    for slot, times in slots.items():
        out[kind_of(slot)] = out.get(kind_of(slot), 0) + times * kept([slot], use)
    return out


def remembered(spec: Model, counted: Cost, use: Use) -> dict[str, Num]:
    """The bytes of state: of all, of a token more, and of what is the same at any length."""
    slots, batch, state, context = growing(spec), use.batch, use.state, use.context
    parts = by_kind(slots, use)
    where, at = f"{HERE} state_bytes", f"at {context:,} tokens in {state}"
    classic = keys_and_values(slots, state)
    if classic is None:
        names = " + ".join(parts) or "0"
        expr = f"batch * ({names})"
        whole: Inputs = {"batch": batch, **parts}
    else:
        expr = f"batch * context * {classic[0]}"
        whole = {"batch": batch, "context": context, **classic[1]}
    held = computed(counted.state_bytes, "B", expr, whole, where, at)
    still = {"batch": batch, "fixed": parts.get("fixed", 0)}
    return {
        "state_bytes": held,
        "state_bytes_per_token": added(spec, slots, counted),
        "state_fixed_bytes": computed(
            counted.state_fixed_bytes, "B", "batch * fixed", still, f"{HERE} state_fixed_bytes"
        ),
    }


def keys_and_values(slots: Mapping[Slot, int], state: str) -> tuple[str, dict[str, int]] | None:
    """The formula of a token's state where all layers keep keys and values alike; else None."""
    form = state_format(state)
    alike = len({(slot.shape, times) for slot, times in slots.items()}) == 1 and len(slots) == 2
    plain = all(kind_of(slot) == "growing" for slot in slots) and isinstance(form, Format)
    if not alike or not plain:
        return None
    (heads, width), times = next((slot.shape, times) for slot, times in slots.items())
    inputs = dict(layers=times, kv_heads=heads, head_dim=width, bytes=form.row_bytes(1))
    return "layers * 2 * kv_heads * head_dim * bytes", inputs


def added(spec: Model, slots: Mapping[Slot, int], counted: Cost) -> Num:
    """The bytes that one more token of one sequence adds."""
    context, state = counted.context, counted.state
    period = math.lcm(*(slot.every for slot in slots))
    where = f"{HERE} growth"
    full = sorted({slot.window for slot in slots if slot.window and slot.window <= context})
    note = f"after {context:,} tokens, when windows of {full[0]:,} are full" if full else None
    if period > 1:
        now, later = (state_bytes(spec, tokens, state) for tokens in (context, context + period))
        inputs = {"later": later, "now": now, "period": period}
        expr = "(later - now) // period"
        note = f"now: after {context:,} tokens, later: after {period:,} more"
        return computed(counted.state_bytes_per_token, "B", expr, inputs, where, note)
    classic = keys_and_values(slots, state)
    if classic is not None:
        return computed(counted.state_bytes_per_token, "B", *classic, where)
    grows: dict[str, int] = {}
    for slot, times in slots.items():
        still = slot.window is None or slot.window > context
        if not (slot.fixed or slot.once) and still:
            name = kind_of(slot)
            grows[name] = grows.get(name, 0) + times * slot_bytes(slot, state)
    return summed(grows, "B", where, note)


def flops(whole: Flops, source: str, note: str | None = None) -> Num:
    """Operations by what they are of: products with weights, pairs of tokens, scans."""
    parts = dict(linear=whole.linear, attention=whole.attention, scan=whole.scan)
    return summed({name: n for name, n in parts.items() if n}, "FLOP", source, note)


def worked(counted: Cost) -> dict[str, Num]:
    """The operations of a prompt and of one more token."""
    context, many = f"{counted.context:,}", counted.batch
    several = "" if many == 1 else f" of each of {many:,} sequences"
    where = "girih/spec/model.py flops"
    seen = "of pairs that are seen"
    return {
        "prefill_flops": flops(counted.prefill, where, f"a prompt of {context} tokens, {seen}"),
        "prefill_dense_flops": flops(
            counted.prefill_dense, where, "every pair computed and masked afterwards"
        ),
        "decode_flops": flops(counted.decode, where, f"token {context}{several}"),
    }


def read(counted: Cost) -> dict[str, Num]:
    """What one more token reads of the weights and of the state."""
    weights, skipped = counted.decode_weight_bytes, counted.weight_bytes
    inputs = {"weights": counted.weight_bytes, "left": skipped - weights}
    note = "left: rows of tables and experts that no token goes to"
    out = {
        "decode_weight_bytes": computed(
            weights, "B", "weights - left", inputs, f"{HERE} read_bytes", note
        ),
        "decode_bytes": summed(
            {"weights": weights, "state": counted.state_bytes}, "B", f"{HERE} read_bytes"
        ),
    }
    if counted.experts:
        passed = counted.experts - counted.experts_touched
        out["experts_touched"] = computed(
            counted.experts_touched,
            "",
            "experts - passed_by",
            {"experts": counted.experts, "passed_by": passed},
            "girih/spec/experts.py touched",
            "an expert is passed by if none of the tokens of a step chose it",
        )
    return out


def curve(spec: Model, contexts: Sequence[int], use: Use) -> dict[str, Any]:
    """The bytes of state against tokens: of all under "state", and of each kind."""
    slots = growing(spec)
    rows = [by_kind(slots, replace(use, context=tokens)) for tokens in contexts]
    kinds = list(dict.fromkeys(kind for row in rows for kind in row))
    by = {kind: [use.batch * row.get(kind, 0) for row in rows] for kind in kinds}
    whole = [use.batch * sum(row.values()) for row in rows]
    return {"contexts": list(contexts), "state": whole, "by": by}


FAR = 32_768
"""Tokens up to which curves are drawn at the least: where models begin to differ."""


def contexts_up_to(most: int) -> list[int]:
    """Powers of two from one token to `most`, and that itself."""
    return sorted({2**power for power in range(most.bit_length())} | {most})
