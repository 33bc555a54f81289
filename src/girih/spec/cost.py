"""What a model costs, from its spec alone: parameters, bytes, floating-point operations."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from girih.spec.base import Flops, Slot, Tensor, Work, require
from girih.spec.experts import Experts
from girih.spec.formats import Format, format_of
from girih.spec.model import Model
from girih.spec.pool import Pool, fixed_bytes

DEFAULT_CONTEXT = 4096
"""Tokens that are counted where neither the caller nor the spec says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The size of a model at one use of it. Bytes are bytes; FLOPs count a multiply-add as two."""

    parameters: int
    active_parameters: int
    """Parameters that take part in the computation of one token."""
    weight_bytes: int
    weights: str
    context: int
    batch: int
    state: str
    state_bytes_per_token: int
    """State that one more token of one sequence adds, on the average where some tokens add more."""
    state_bytes: int
    """What `batch` sequences of `context` tokens each, and their sources, leave in memory."""
    state_fixed_bytes: int
    """Of that, what is fixed whatever the context: in float32 in every format of states."""
    prefill: Flops
    """`batch` prompts of `context` tokens, visible pairs only, one row of logits each."""
    prefill_dense: Flops
    """The same by a kernel that computes every pair and masks afterwards."""
    decode: Flops
    """One more token for each of `batch` sequences, the last of `context`."""
    experts: int
    """Of all layers."""
    experts_touched: float
    """Those that `decode` goes to, on the average if all are chosen as often."""
    decode_weight_bytes: int
    """What `decode` reads of the weights: of experts those touched, of tables a row each."""


def cost(
    spec: Model,
    *,
    context: int | None = None,
    batch: int = 1,
    weights: str | Mapping[str, str] = "bfloat16",
    state: str = "bfloat16",
    sources: int = 0,
) -> Cost:
    """The cost of `batch` sequences of `context` tokens.

    `weights` is one storage format for every matrix that it can hold (what is no matrix, or whose
    rows are no whole blocks, is counted in float32), or the format of each canonical tensor.
    `state` is the format of what is remembered; `sources` is how many entries of another stack
    each sequence attends to. Raises SpecError for what cannot be counted.
    """
    if context is None:
        context = min(spec.context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    require(context > 0, f"context {context} is below one token")
    require(batch > 0, f"batch {batch} is below one sequence")
    require(sources >= 0, f"sources {sources} is below zero")
    tensors = spec.tensors()
    parameters = sum(tensor.numel for tensor in tensors.values())
    whole = Work(tokens=context, context=context, source=sources, given=sources)
    return Cost(
        parameters=parameters,
        active_parameters=parameters - idle(spec),
        weight_bytes=weight_bytes(tensors, weights),
        weights=weights if isinstance(weights, str) else mixture(weights),
        context=context,
        batch=batch,
        state=state,
        state_bytes_per_token=growth(spec, context, state),
        state_bytes=batch * state_bytes(spec, context, state, sources),
        state_fixed_bytes=batch * sum(fixed_bytes(slot, state) for slot in fixed_slots(spec)),
        prefill=times(spec.flops(whole), batch),
        prefill_dense=times(spec.flops(replace(whole, dense=True)), batch),
        decode=times(spec.flops(replace(whole, tokens=1, given=0)), batch),
        experts=sum(mixer.count for _, mixer, _ in mixtures(spec)),
        experts_touched=sum(mixer.touched(batch) for _, mixer, _ in mixtures(spec)),
        decode_weight_bytes=read_bytes(spec, weights, batch),
    )


def mixtures(spec: Model) -> Iterator[tuple[str, Experts, int]]:
    """Every mixture of experts: its path, itself, and the width of its stack."""
    for stack in spec.stacks:
        for path, branch in stack.leaves():
            if isinstance(branch.mixer, Experts):
                yield path, branch.mixer, stack.dim


def idle(spec: Model) -> int:
    """The parameters of experts that a token does not go to."""
    out = 0
    for _, mixer, dim in mixtures(spec):
        one = sum(tensor.numel for tensor in mixer.stacks(dim).values()) // mixer.count
        out += one * (mixer.count - mixer.router.top)
    return out


def read_bytes(spec: Model, weights: str | Mapping[str, str], batch: int) -> int:
    """The bytes of weights that one more token for each of some sequences reads."""
    tensors = spec.tensors()
    sizes = {name: float(weight_bytes({name: t}, weights)) for name, t in tensors.items()}
    for path, mixer, dim in mixtures(spec):
        for name in mixer.stacks(dim):
            sizes[f"{path}.{name}"] *= mixer.touched(batch) / mixer.count
    for stack in spec.stacks:
        tied = stack.head is not None and stack.head.tied
        for name, tensor in stack.input.tensors(stack.dim).items():
            table = name.endswith(("embed.weight", "position.weight"))
            if table and not (tied and name == "embed.weight"):
                full = f"{stack.name}.{name}"
                sizes[full] *= min(batch, tensor.shape[0]) / tensor.shape[0]
    return round(sum(sizes.values()))


def weight_bytes(tensors: Mapping[str, Tensor], weights: str | Mapping[str, str]) -> int:
    """The bytes of these tensors in one format, or each in its own."""
    total = 0
    for name, tensor in tensors.items():
        if isinstance(weights, str):
            total += tensor_bytes(held_in(tensor, weights), tensor)
        else:
            require(name in weights, f"weights: no format is given for {name}")
            total += tensor_bytes(format_of(weights[name]), tensor)
    return total


def bytes_by_format(tensors: Mapping[str, Tensor], formats: Mapping[str, str]) -> dict[str, int]:
    """The bytes of the weights in each storage format, the largest first."""
    out: dict[str, int] = {}
    for name, tensor in tensors.items():
        form = format_of(formats[name])
        out[form.name] = out.get(form.name, 0) + tensor_bytes(form, tensor)
    return dict(sorted(out.items(), key=lambda item: -item[1]))


def held_in(tensor: Tensor, name: str) -> Format:
    """The format of that name, or float32 where its blocks cannot hold the tensor."""
    wanted = format_of(name)
    whole = len(tensor.shape) > 1 and tensor.shape[-1] % wanted.values == 0
    return format_of("float32") if wanted.packed and not whole else wanted


def tensor_bytes(form: Format, tensor: Tensor) -> int:
    """The bytes of a tensor, each row of its last axis stored on its own."""
    return form.row_bytes(tensor.shape[-1]) * (tensor.numel // tensor.shape[-1])


def state_bytes(spec: Model, tokens: int, state: str, sources: int = 0, slack: int = 0) -> int:
    """The bytes that one sequence of `tokens` tokens leaves in memory, in the format `state`.

    `sources` is how many entries of another stack it attends to. With `slack`, windows keep so many
    tokens more, by which they can be rewound. What is fixed counts once and in float32; that a step
    needs a second place for it, and each mark one more, is counted in what is set aside
    (`pool_bytes`).
    """
    asked = Pool(sequences=1, capacity=tokens, slack=slack, sources=sources)
    once = sum(fixed_bytes(slot, state) for slot in fixed_slots(spec))
    return pool_bytes(spec, asked, state) - (asked.places - 1) * once


def pool_bytes(spec: Model, pool: Pool, state: str) -> int:
    """The bytes of all that is set aside for the state of some sequences.

    They are what `State.bytes` says once it is allocated: rooms or pages of what grows, and of what
    is fixed two places for each sequence and one for each snapshot.
    """
    return pool.bytes([slot for kinds in spec.state().values() for slot in kinds], state)


def fixed_slots(spec: Model) -> list[Slot]:
    """The slots whose values do not grow."""
    return [slot for kinds in spec.state().values() for slot in kinds if slot.fixed]


def growth(spec: Model, tokens: int, state: str) -> int:
    """The bytes that a token adds after so many, on the average of what grows by several."""
    period = math.lcm(*(slot.every for kinds in spec.state().values() for slot in kinds))
    more = state_bytes(spec, tokens + period, state) - state_bytes(spec, tokens, state)
    return more // period


def mixture(formats: Mapping[str, str]) -> str:
    """The formats in use, the commonest first."""
    names = list(formats.values())
    return " + ".join(sorted(set(names), key=lambda name: (-names.count(name), name)))


def times(flops: Flops, count: int) -> Flops:
    """The same work `count` times."""
    return Flops(flops.linear * count, flops.attention * count, flops.scan * count)
