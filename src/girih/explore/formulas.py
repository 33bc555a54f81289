"""The numbers of one branch, each with the formula that its kind of mixer has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from girih.explore.numbers import Num, Value, computed
from girih.spec import (
    MLP,
    Attention,
    CrossAttention,
    Experts,
    GroupedAttention,
    LatentAttention,
    Mamba,
    Mamba2,
    Reversed,
    Slot,
    Tensor,
)
from girih.spec.formats import Levels, state_format
from girih.spec.pool import Pool, fixed_bytes

Inputs = Mapping[str, Value]
Formula = tuple[str, Inputs, Collection[str]]
"""An expression, its inputs, and the names of the tensors that it counts."""
COST = "girih/spec/cost.py state_bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a model is used for: `batch` sequences of `context` tokens, and how they are kept."""

    context: int
    batch: int = 1
    state: str = "bfloat16"
    sources: int = 0
    """Entries of another stack that each sequence attends to."""


def parameters(mixer: Any, dim: int, norms: Mapping[str, Tensor], at: str) -> Num:
    """The parameters of a mixer and of the norms around it, by the formula of its matrices."""
    while isinstance(mixer, Reversed):
        mixer = mixer.mixer
    tensors = {**norms, **mixer.tensors(dim)}
    expr, inputs, counted = matrices(mixer, dim)
    rest = {name: one.numel for name, one in tensors.items() if name not in counted}
    note = None
    if rest:
        expr = f"{expr} + rest" if expr else "rest"
        inputs = {**inputs, "rest": sum(rest.values())}
        note = "rest: " + ", ".join(f"{name} {size:,}" for name, size in rest.items())
    total = sum(one.numel for one in tensors.values())
    return computed(total, "params", expr, inputs, at, note)


FEED = ("gate.weight", "up.weight", "down.weight")
SELECTIVE = tuple(f"{name}.weight" for name in ("x", "z", "o", "b", "c", "dt_down", "dt_up"))
DUAL = tuple(f"{name}.weight" for name in ("x", "z", "o", "b", "c", "dt"))
LATENT = tuple(f"{n}.weight" for n in ("q", "q_down", "q_up", "kv_down", "k_up", "v_up", "o"))


def matrices(mixer: Any, dim: int) -> Formula:
    """The formula of what a mixer multiplies by."""
    if isinstance(mixer, GroupedAttention):
        return matrices(mixer.inside, dim)
    if isinstance(mixer, Attention):
        return attention(mixer, dim)
    if isinstance(mixer, CrossAttention):
        expr = "2 * heads * head_dim * dim + 2 * kv_heads * head_dim * source"
        inputs = fields(mixer, "heads", "kv_heads", "head_dim", "source", dim=dim)
        return expr, inputs, [f"{name}.weight" for name in "qkvo"]
    if isinstance(mixer, LatentAttention):
        return latent(mixer, dim)
    if isinstance(mixer, MLP):
        many = 3 if mixer.gated else 2
        return f"{many} * dim * hidden", fields(mixer, "hidden", dim=dim), FEED
    if isinstance(mixer, Experts):
        expr = f"experts * {3 if mixer.gated else 2} * dim * hidden + experts * dim"
        inputs = fields(mixer, "hidden", dim=dim, experts=mixer.count)
        return expr, inputs, (*FEED, "router.weight")
    if isinstance(mixer, Mamba):
        expr = "3 * dim * inner + 2 * inner * (rank + states) + inner * states"
        return expr, fields(mixer, "inner", "states", "rank", dim=dim), (*SELECTIVE, "a_log")
    if isinstance(mixer, Mamba2):
        expr = "dim * (3 * heads * head_dim + 2 * groups * states + heads)"
        return expr, fields(mixer, "heads", "head_dim", "groups", "states", dim=dim), DUAL
    wide = {name: one for name, one in mixer.tensors(dim).items() if len(one.shape) > 1}
    sizes = {name.removesuffix(".weight"): one.numel for name, one in wide.items()}
    inputs = {name.replace(".", "_"): size for name, size in sizes.items()}
    return " + ".join(inputs), inputs, list(wide)


def fields(mixer: Any, *names: str, **more: Value) -> dict[str, Value]:
    """Fields of a mixer by name, and other inputs of its formula."""
    return {name: getattr(mixer, name) for name in names} | more


def attention(mixer: Attention, dim: int) -> Formula:
    """The matrices of attention: as wide as all query heads, or as all kept ones."""
    wide = sum(name in mixer.made for name in ("q", "gate", "o"))
    kept = sum(name in mixer.made for name in ("k", "v"))
    names, expr = ["heads", "head_dim"], f"{wide} * heads * head_dim * dim"
    if kept:
        names.append("kv_heads")
        expr += f" + {kept} * kv_heads * head_dim * dim"
    return expr, fields(mixer, *names, dim=dim), [f"{name}.weight" for name in mixer.made]


def latent(mixer: LatentAttention, dim: int) -> Formula:
    """The matrices of latent attention: into the latents and out of them."""
    names = ("heads", "kv_rank", "plain_dim", "rope_dim", "value_dim")
    inputs = fields(mixer, *names, dim=dim)
    query = "dim * heads * (plain_dim + rope_dim)"
    if mixer.q_rank is not None:
        inputs["q_rank"] = mixer.q_rank
        query = "dim * q_rank + q_rank * heads * (plain_dim + rope_dim)"
    expr = f"{query} + dim * (kv_rank + rope_dim) + kv_rank * heads * (plain_dim + value_dim)"
    return f"{expr} + heads * value_dim * dim", inputs, LATENT


def kept(slots: Sequence[Slot], use: Use) -> int:
    """The bytes that one sequence leaves in some slots."""
    pool = Pool(sequences=1, capacity=use.context, sources=use.sources)
    once = sum(fixed_bytes(slot, use.state) for slot in slots if slot.fixed)
    return pool.bytes([slot for slot in slots if not slot.fixed], use.state) + once


def per_token(mixer: Any, slots: Sequence[Slot], state: str, at: str) -> Num:
    """What a token adds while nothing is forgotten."""
    growing = [slot for slot in slots if not (slot.fixed or slot.once)]
    if not growing:
        return computed(0, "B", "0", {}, at)
    levels = [slot for slot in growing if slot.every > 1]
    same = [slot for slot in growing if slot.every == 1]
    expr, inputs, note = entry(mixer, same, state)
    value: Value = sum(slot_bytes(slot, state) for slot in same)
    if levels:
        each = {f"span_{at}": span for at, span in enumerate(mixer.spans, 1)}
        tokens = value
        value = tokens + sum(1.5 * tokens / span for span in each.values())
        expr = "entry + " + " + ".join(f"1.5 * entry / {name}" for name in each)
        inputs, note = {"entry": tokens, **each}, WINDOWS
    return computed(whole(value), "B", expr, inputs, at, note)


WINDOWS = (
    "a token's key and value are an entry; the representative of a window keeps a key, a value "
    "and what it gathered"
)


def entry(mixer: Any, slots: Sequence[Slot], state: str) -> tuple[str, Inputs, str | None]:
    """The formula of the entries of one token, all alike."""
    form, (heads, width) = state_format(state), slots[0].shape
    if isinstance(form, Levels):
        row = form.row_bytes(width)
        note = (
            f"row: {width} numbers in {form.name}, {form.bits} bits each, and two bounds of 16 "
            f"bits for each {form.group} of them"
        )
        return f"{len(slots)} * kv_heads * row", {"kv_heads": heads, "row": row}, note
    size = form.row_bytes(1)
    if isinstance(mixer, LatentAttention):
        inputs = dict(kv_rank=mixer.kv_rank, rope_dim=mixer.rope_dim, bytes=size)
        return "(kv_rank + rope_dim) * bytes", inputs, f"bytes: of a number in {form.name}"
    inputs = dict(kv_heads=heads, head_dim=width, bytes=size)
    return (
        f"{len(slots)} * kv_heads * head_dim * bytes",
        inputs,
        f"bytes: of a number in {form.name}",
    )


def slot_bytes(slot: Slot, state: str) -> int:
    """The bytes of one entry of a slot."""
    heads, width = slot.shape
    return heads * state_format(state).row_bytes(width)


def fixed(slots: Sequence[Slot], state: str, at: str) -> Num:
    """What is the same at any length."""
    kept = {slot.name: slot.values(0) for slot in slots if slot.fixed}
    if not kept:
        return computed(0, "B", "0", {}, at)
    value = sum(fixed_bytes(slot, state) for slot in slots)
    each = value // sum(kept.values())
    note = "in float32 in every format of states"
    return computed(value, "B", f"bytes * ({' + '.join(kept)})", {**kept, "bytes": each}, at, note)


def state_of(mixer: Any, slots: Sequence[Slot], use: Use) -> Num:
    """What all sequences leave in a branch."""
    if not slots:
        return computed(0, "B", "0", {}, COST)
    one = kept(slots, use)
    value, tokens = use.batch * one, [slot for slot in slots if slot.every == 1]
    if slots[0].fixed:
        inputs = {"batch": use.batch, "fixed": one}
        return computed(value, "B", "batch * fixed", inputs, COST)
    size, first = sum(slot_bytes(slot, use.state) for slot in tokens), slots[0]
    inputs = {"batch": use.batch, "entry": size}
    if first.once:
        inputs["sources"] = use.sources
        return computed(value, "B", "batch * entry * sources", inputs, COST)
    inputs["context"] = use.context
    count, note = "context", None
    if first.window is not None:
        inputs["window"] = first.window
        count = "min(context, window)"
    if len(tokens) < len(slots):
        spans = {f"span_{at}": span for at, span in enumerate(mixer.spans, 1)}
        inputs |= spans
        windows = " + ".join(f"context // {name}" for name in spans)
        count, note = f"({count} + 1.5 * ({windows}))", WINDOWS
    return computed(value, "B", f"batch * entry * {count}", inputs, COST, note)


def whole(value: Value) -> Value:
    """The value, as a whole number where it is one."""
    return int(value) if value == int(value) else value
