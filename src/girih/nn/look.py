"""What a look inside takes of a mixer.

T tokens, N keys, H heads, K key/value heads, D width of a head.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from girih.kernels import reference
from girih.kernels.calls import AppendCall, AttentionCall
from girih.kernels.grouped import GroupedCall
from girih.state.step import Step


def maps(call: AttentionCall, step: Step, path: str) -> None:
    """Capture the map of each sequence: [H, T, N]."""
    assert step.capture is not None
    for q_THD, k_KND, _, end in call.sequences():
        size = q_THD.shape[1] * q_THD.shape[0] * k_KND.shape[1]
        step.capture.reserve(path, size, 4)
        firsts = end - q_THD.shape[0], end - k_KND.shape[1]
        step.capture.put(path, reference.attention_weights(q_THD, k_KND, *firsts, call))


def grouped_maps(call: GroupedCall, step: Step, path: str) -> None:
    """Capture the map of each sequence: [H, T, keys of its windows, then representatives]."""
    assert step.capture is not None
    for index, q_THD in enumerate(call.q_THD.split(list(call.counts))):
        start, windows = call.reach(index)
        keys = call.ends[index] - start + sum(map(len, windows))
        step.capture.reserve(path, q_THD.shape[1] * q_THD.shape[0] * keys, 4)
        k_KND, _, seen_TN = call.of(index)
        step.capture.put(path, reference.grouped_weights(q_THD, k_KND, seen_TN, call.scale))


def heads(
    call: AttentionCall | GroupedCall, append: AppendCall, mixed_THD: Tensor, step: Step, path: str
) -> None:
    """Capture queries, keys and values [T, heads, D] as they attend, and what they mix.

    Queries and keys also before their rotation, but for keys that another layer made.
    """
    assert step.capture is not None
    k_TKD, v_TKD = newest(call.k_KND, step), newest(call.v_KND, step)

    def made() -> dict[str, Tensor]:
        out = {"q": call.q_THD, "k": k_TKD, "v": v_TKD, "mixed": mixed_THD}
        if append.rotation is not None:
            q_THD, plain_TKD, _ = reference.turned(replace(append, rotation=None))
            out["q_plain"] = q_THD
            if append.heads.kept:
                out["k_plain"] = plain_TKD
        return out

    count = 3 * call.q_THD.numel() + 2 * k_TKD.numel() + v_TKD.numel()
    step.capture.show(path, count, made)
    step.capture.calls[path] = told(call)


def representatives(call: GroupedCall, step: Step, path: str) -> None:
    """Capture the new representatives of each level [W, K, D]: their keys, and what they gather."""
    assert step.capture is not None
    for level, far in enumerate(call.far, 1):
        counts = step.completed(far.every) if call.causal else [p.shape[1] for p in far.k_KWD]
        for name, parts in (("key", far.k_KWD), ("gathered", far.v_KWD)):
            own = [p[:, p.shape[1] - n :] for p, n in zip(parts, counts, strict=True)]
            step.capture.put(f"{path}.{name}_{level}", torch.cat(own, dim=1).transpose(0, 1))


def scan(
    call: Any,
    inside: Callable[[Any], dict[str, Tensor]],
    always: Collection[str],
    path: str,
    step: Step,
) -> None:
    """Capture the terms of a scan [T, ...]; those that are always the same once."""
    assert step.capture is not None
    held = (getattr(call, field.name) for field in fields(call))
    count = sum(value.numel() for value in held if isinstance(value, Tensor))
    step.capture.show(path, count, lambda: inside(call), always)


def told(call: AttentionCall | GroupedCall) -> AttentionCall | GroupedCall:
    """How a call makes weights of scores, without what is of its tokens."""
    nothing = dict(q_THD=call.q_THD[:0].detach().clone(), k_KND=(), v_KND=(), counts=(), ends=())
    if isinstance(call, AttentionCall):
        return replace(call, **nothing, room=None, spans=None)
    far = tuple(replace(one, k_KWD=(), v_KWD=()) for one in call.far)
    return replace(call, **nothing, far=far, split=None)


def newest(parts: Sequence[Tensor], step: Step) -> Tensor:
    """The new entries of a step [T, K, D], of all that its sequences see [K, N, D]."""
    own = [part[:, -count:] for part, count in zip(parts, step.counts, strict=True)]
    return torch.cat(own, dim=1).transpose(0, 1)
