"""Grouped-window attention against its definition, written out token by token in float64."""

from dataclasses import replace

import pytest
import torch

from calls import drawn
from draw import distance, redraw
from girih.kernels.calls import Rows
from girih.nn.registry import Place, made
from girih.nn.rotary import rotation
from girih.plan import Plan
from girih.spec import Full, Rope
from girih.state.step import step_of
from specs import GROUPED

DIM = 24
NODES = {
    "one level": GROUPED,
    "two levels": replace(GROUPED, sizes=(3, 2), position=None),
    "three levels": replace(GROUPED, sizes=(2, 3, 2), pooling="learned", kv_heads=6),
    "learned": replace(GROUPED, sizes=(5, 2), pooling="learned", scale=0.7, biases=("q", "v")),
    "interleaved": replace(GROUPED, position=Rope(width=6, theta=50.0, pairs="interleaved")),
    "full": replace(GROUPED, mask=Full()),
    "full in levels": replace(GROUPED, mask=Full(), sizes=(2, 2, 3), pooling="learned"),
    "one window": replace(GROUPED, sizes=(40,)),
    "full in one window": replace(GROUPED, mask=Full(), sizes=(40, 2)),
}
LENGTH = 29


def module(node, seed=0):
    """The mixer with random weights, in float64."""
    mixer = made(node, Place(dim=DIM, path="a", plan=Plan(mode="exact"))).double()
    redraw(mixer.named_parameters(), torch.Generator().manual_seed(seed))
    return mixer


def mixed(mixer, x_TM, counts=None):
    step = step_of([[0] * count for count in counts or [len(x_TM)]])
    rope = mixer.node.position
    turns = {} if rope is None else {rope: rotation(rope, step.positions)}
    return mixer(Rows(x_TM, dtype=torch.float64), replace(step, rotations=turns))


def turned(vector, rope, place):
    """A vector rotated as at a place, pair by pair."""
    if rope is None:
        return vector
    out, half = list(vector), rope.width // 2
    for pair in range(half):
        one, other = (pair, pair + half) if rope.pairs == "half" else (2 * pair, 2 * pair + 1)
        angle = torch.tensor(place * rope.theta ** (-2 * pair / rope.width), dtype=torch.float64)
        out[one] = vector[one] * angle.cos() - vector[other] * angle.sin()
        out[other] = vector[other] * angle.cos() + vector[one] * angle.sin()
    return torch.stack(out)


def attended(query, pairs, scale):
    """The softmax of a query over keys, of their values."""
    keys, values = (torch.stack(kind) for kind in zip(*pairs, strict=True))
    return torch.softmax(keys @ query * scale, 0) @ values


def pools(node, mixer, head, keys, values):
    """The levels of a head: of each, (first token, last token, rotated key, gathered value)."""
    scale = node.scale or node.head_dim**-0.5
    below = [(t, t, key, value) for t, (key, value) in enumerate(zip(keys, values, strict=True))]
    for number, size in enumerate(node.sizes, 1):
        level = []
        for start in range(0, len(below), size):
            part = below[start : start + size]
            if len(part) < size and not node.mask.ahead:
                break
            k, v = (torch.stack([entry[kind] for entry in part]) for kind in (2, 3))
            weights = torch.full((len(part),), 1 / len(part), dtype=torch.float64)
            if node.pooling == "learned":
                weights = torch.softmax(k @ mixer.pools[f"pool_{number}"].weight[head], 0)
            level.append((part[0][0], part[-1][1], weights @ k, weights @ v))
        turns = [turned(key, node.position, last) for _, last, key, _ in level]
        gathered = []
        for place in range(len(level)):
            seen = range(len(level) if node.mask.ahead else place + 1)
            pairs = [(turns[other], level[other][3]) for other in seen]
            gathered.append(attended(turns[place], pairs, scale))
        yield [(e[0], e[1], k, v) for e, k, v in zip(level, turns, gathered, strict=True)]
        below = level


def defined(node, mixer, x_TM):
    """What the mixer gives for one sequence, by its definition."""
    parts = {}
    for name in "qkv":
        weight = getattr(mixer.mixer, name)
        plain = x_TM @ weight.weight.T + (0 if weight.bias is None else weight.bias)
        parts[name] = plain.view(len(x_TM), -1, node.head_dim)
    scale, group = node.scale or node.head_dim**-0.5, node.heads // node.kv_heads
    out = torch.zeros(len(x_TM), node.heads, node.head_dim, dtype=torch.float64)
    for head in range(node.heads):
        keys, values = parts["k"][:, head // group], parts["v"][:, head // group]
        levels = list(pools(node, mixer, head // group, keys, values))
        for t in range(len(x_TM)):
            pairs = [
                (turned(keys[other], node.position, other), values[other])
                for other in range(len(x_TM))
                if other // node.sizes[0] == t // node.sizes[0] and (other <= t or node.mask.ahead)
            ]
            for level, span in zip(levels, [*node.spans[1:], 10**9], strict=True):
                for first, last, key, value in level:
                    shares = first // span == t // span and not first <= t <= last
                    if shares and (last < t or node.mask.ahead):
                        pairs.append((key, value))
            query = turned(parts["q"][t, head], node.position, t)
            out[t, head] = attended(query, pairs, scale)
    return out.flatten(1) @ mixer.mixer.o.weight.T


@pytest.mark.parametrize("name", NODES)
def test_outputs_and_gradients_are_those_of_the_definition(name):
    node, grads = NODES[name], []
    mixer, weight = module(node), drawn(LENGTH, DIM, seed=3).double()
    outs = []
    for compute in (lambda x: mixed(mixer, x), lambda x: defined(node, mixer, x)):
        x_TM = drawn(LENGTH, DIM, seed=2).double().requires_grad_()
        outs.append(compute(x_TM))
        leaves = {"x": x_TM} | dict(mixer.named_parameters())
        found = torch.autograd.grad((outs[-1] * weight).sum(), leaves.values())
        grads.append(dict(zip(leaves, found, strict=True)))
    assert distance(*(out.detach() for out in outs)) <= 1e-6
    for key, right in grads[1].items():
        assert distance(grads[0][key], right) <= 1e-5, key
        assert float(right.abs().max()) > 1e-3, f"{key} has no part in it"
