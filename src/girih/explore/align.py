"""Which layers of two models stand beside each other: in order, by what they are made of."""

from collections.abc import Sequence

Pair = tuple[int, int]
MOST = 256
"""Layers up to which all ways to pair them are weighed; beyond, they are paired by their place."""
APART = 3.0
"""What it costs to pair the first layer with the last; layers that differ in all cost 2."""
ROLES = {"mlp": "feed-forward", "experts": "feed-forward", "cross": "cross attention"}
"""What a branch does for its layer; whatever else mixes tokens is its mixer."""


def role_of(kind: str) -> str:
    """What a branch of this kind does for its layer."""
    return "other" if kind == "other" else ROLES.get(kind, "mixer")


def unlike(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """How much the kinds of two layers differ, from 0 to 2."""
    cost = 0.0
    for role in ("mixer", "feed-forward", "cross attention"):
        one = [kind for kind in ours if role_of(kind) == role]
        other = [kind for kind in theirs if role_of(kind) == role]
        if one != other:
            cost += 0.5 if role == "feed-forward" else 1.0
    return min(cost, 2.0)


def aligned(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> list[Pair]:
    """Pairs of layers, of which the kinds of their branches are given; each layer is in one.

    Layers are paired in order, one with several where one model is deeper, so that pairs are as
    alike as can be and stand at about the same share of the depth (dynamic time warping: Sakoe and
    Chiba, 1978).
    """
    many, others = len(ours), len(theirs)
    if not many or not others:
        return []
    if max(many, others) > MOST:
        count = max(many, others)
        return [(at * many // count, at * others // count) for at in range(count)]
    return path(costs(ours, theirs))


def costs(ours: Sequence[Sequence[str]], theirs: Sequence[Sequence[str]]) -> list[list[float]]:
    """What it costs to pair each of our layers with each of theirs."""
    kinds: dict[tuple[int, int], float] = {}
    known: dict[tuple[str, ...], int] = {}
    one = [known.setdefault(tuple(kind), len(known)) for kind in ours]
    other = [known.setdefault(tuple(kind), len(known)) for kind in theirs]
    for a, ka in zip(one, ours, strict=True):
        for b, kb in zip(other, theirs, strict=True):
            if (a, b) not in kinds:
                kinds[a, b] = unlike(ka, kb)
    depth, deep = max(len(ours) - 1, 1), max(len(theirs) - 1, 1)
    return [
        [kinds[a, b] + APART * abs(i / depth - j / deep) for j, b in enumerate(other)]
        for i, a in enumerate(one)
    ]


def path(cost: Sequence[Sequence[float]]) -> list[Pair]:
    """The cheapest way through a table from its first cell to its last, one step at a time."""
    best: list[list[float]] = []
    for i, row in enumerate(cost):
        line: list[float] = []
        for j, here in enumerate(row):
            before = [best[i - 1][j - 1]] if i and j else []
            before += [best[i - 1][j]] if i else []
            before += [line[j - 1]] if j else []
            line.append(here + min(before, default=0.0))
        best.append(line)
    i, j = len(cost) - 1, len(cost[0]) - 1
    out = [(i, j)]
    while i or j:
        steps = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min((s for s in steps if min(s) >= 0), key=lambda s: best[s[0]][s[1]])
        out.append((i, j))
    return out[::-1]


def spans(layers: Sequence[int]) -> str:
    """Layers by their indices, runs joined: 0-4, 6-10."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and runs[-1][1] == layer - 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)
