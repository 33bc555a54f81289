"""A look into one text in one model: what a picture needs is taken when it is wanted, and kept."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from girih.engine.model import Model
from girih.explore.inside import attend, masks, mixtures, scans
from girih.explore.inside.attend import Attended
from girih.explore.inside.parts import Tile, area, numbers, one_of
from girih.spec import DeltaNet, Experts, Mamba, Mamba2, Rope, SpecError, StateSpace
from girih.state.capture import DEFAULT_LIMIT, Capture

SCANS: dict[type, Callable[[Mapping[str, Tensor]], scans.Scan]] = {
    Mamba: scans.Selective,
    Mamba2: scans.Dual,
    DeltaNet: scans.Corrected,
    StateSpace: scans.Linear,
}
STEPPED = (Mamba, Mamba2, DeltaNet)
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("attn", "attn_groups", "thumbs", "mask", "heads"), masks.ATTENTIONS),
    **dict.fromkeys(("router", "router_scores"), (Experts,)),
    **dict.fromkeys(("keep", "left", "norm"), tuple(SCANS)),
    "delta": STEPPED,
}
"""The kinds of tiles, and the mixers that have them."""


class Inside:
    """What can be seen of the tokens of a text in a model; at most `limit` bytes are kept.

    A layer is looked into when it is asked for, by feeding the text once more; the oldest is
    forgotten where the next would pass the limit. Raises ValueError, in one line, for what is not
    there, and for a layer that is larger than the limit.
    """

    def __init__(self, model: Model, ids: Sequence[int], limit: int = DEFAULT_LIMIT) -> None:
        self.model, self.limit = model, limit
        self.ids = model.prompter.tokens(list(ids))
        self.leaves = dict(leaf for stack in model.spec.stacks for leaf in stack.leaves())
        self.kept: dict[tuple[str, str], Capture] = {}

    @property
    def bytes(self) -> int:
        """The bytes that are kept."""
        return sum(capture.bytes for capture in self.kept.values())

    def tile(self, kind: str, layer: str | int, **asked: Any) -> Tile:
        """A part of a picture of a layer; `head`, `r0`, `c0`, `rows`, `cols`, `pool` say which.

        "attn": the weights of a head, float32 [rows, cols], and how far the kernel's output is from
        the same of these weights. "attn_groups": those of the representatives of grouped windows.
        "thumbs": [heads, side, side] bytes, at most 64 a side. "mask": bytes 0 and 1 (with `n`, of
        so many tokens). "heads": a head's query and key of each token before their rotation,
        [2, tokens, width]. "router": the weight of each expert for each token, 0 where it was not
        chosen; "router_scores": all. Of scans, for at most 64 channels: "delta" (steps), "keep"
        (what is left of the state) and "norm" (of the state) [tokens, channels]; "left": the
        implied attention [rows, cols], of a channel (`head`) or the mean size of all.

        Rows and columns count tokens; a number stands for the largest of `pool` by `pool`.
        """
        if kind not in KINDS:
            raise ValueError(f"there is no tile {kind!r}; there are {', '.join(KINDS)}")
        path = self.path(kind, layer)
        known = {"head", "r0", "c0", "rows", "cols", "pool", "n"}
        if unknown := sorted(asked.keys() - known):
            raise ValueError(f"a tile has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
        given = {name: value for name, value in asked.items() if value is not None}
        if kind != "mask":
            given.pop("n", None)
        with torch.inference_mode():
            return getattr(self, f"{kind}_tile")(path, given.pop("head", None), given)

    def path(self, kind: str, layer: str | int) -> str:
        """The branch that is meant by its path, or by the number of its layer."""
        fits = [p for p, leaf in self.leaves.items() if isinstance(leaf.mixer, KINDS[kind])]
        if layer in fits:
            return str(layer)
        if str(layer).isdigit():
            for path in fits:
                if f".layers.{int(layer)}." in path:
                    return path
        if not fits:
            raise ValueError(f"no layer of the model has {kind!r}")
        raise ValueError(f"layer {layer!r} has no {kind!r}; those that have it: {', '.join(fits)}")

    def taken(self, what: str, path: str) -> tuple[dict[str, Tensor], Capture]:
        """What was captured of a branch by name, and the capture itself."""
        if (what, path) in self.kept:
            self.kept[what, path] = found = self.kept.pop((what, path))
        else:
            short = shortened(self.model, path)
            found = short.captured(self.ids, Capture(what, self.limit, path))
            while self.kept and self.bytes + found.bytes > self.limit:
                self.kept.pop(next(iter(self.kept)))
            for name, parts in found.taken.items():
                found.taken[name] = [torch.cat(parts)]
            self.kept[what, path] = found
        return {name[len(path) + 1 :]: one for name, (one,) in found.taken.items()}, found

    def attended(self, layer: str | int) -> Attended:
        """The attention of a layer as it ran."""
        path = self.path("attn", layer)
        parts, capture = self.taken("heads", path)
        return attend.attended(parts, capture.calls[path])

    def attn_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """Weights of a head."""
        of = self.attended(path)
        wanted = area(of.tokens, of.tokens, **given)
        return self.noted(attend.weights(of, one_of("head", head, of.heads), wanted))

    def attn_groups_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """The weights of representatives."""
        of = self.attended(path)
        count = of.k_KND.shape[1] - of.tokens
        if not count:
            raise ValueError(f"{path}: there is no representative of {of.tokens:,} tokens")
        wanted = area(of.tokens, count, **given)
        return self.noted(attend.weights(of, one_of("head", head, of.heads), wanted, of.tokens))

    def noted(self, made: Tile) -> Tile:
        """A tile with what the kernel computed in, beside how far its output is."""
        plan = self.model.plan
        return replace(made, note=made.note | {"kernel": f"{plan.mode}, {plan.compute}"})

    def thumbs_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """All maps in small."""
        return attend.thumbs(self.attended(path))

    def heads_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """Queries and keys before their rotation."""
        of, position = self.attended(path), self.leaves[path].mixer.position
        k_TKD = of.plain[1]
        if k_TKD is None:
            k_TKD = self.attended(self.lender(path)).plain[1]
        assert k_TKD is not None
        rotary = position.width if isinstance(position, Rope) else 0
        return attend.vectors(of, k_TKD, one_of("head", head, of.heads), rotary)

    def lender(self, path: str) -> str:
        """The branch whose keys a branch reads."""
        return next(one[path] for s in self.model.spec.stacks if path in (one := s.lenders()))

    def mask_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """Which tokens see which."""
        tokens, mixer = given.pop("n", len(self.ids)), self.leaves[path].mixer
        if type(tokens) is not int or tokens < 1:
            raise ValueError(f"n {tokens!r} is not a number of tokens from 1 on")
        return masks.mask(mixer, tokens, area(tokens, masks.width(mixer, tokens), **given))

    def router_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """The weights of experts."""
        node = self.leaves[path].mixer
        return mixtures.routed(self.taken("router", path)[0], node, scores=False)

    def router_scores_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """The scores of experts."""
        node = self.leaves[path].mixer
        return mixtures.routed(self.taken("router", path)[0], node, scores=True)

    def scan(self, path: str) -> scans.Scan:
        """The scan of a layer as it ran."""
        return SCANS[type(self.leaves[path].mixer)](self.taken("scan", path)[0])

    def delta_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """Steps."""
        return of_channels(scan := self.scan(path), scan.delta())

    def keep_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """What is left of the state after a token."""
        return of_channels(scan := self.scan(path), scan.keep())

    def norm_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """The length of the state after each token."""
        return of_channels(scan := self.scan(path), scan.norm(), squares=True)

    def left_tile(self, path: str, head: Any, given: dict[str, int]) -> Tile:
        """The implied attention."""
        scan, tokens = self.scan(path), len(self.ids)
        wanted = area(tokens, tokens, **given)
        channel = None if head is None else one_of("head", head, scan.channels)
        array, used = scans.implied(scan, wanted.rows, wanted.cols, channel)
        note = {"channels": used, "of": scan.channels, "max": float(array.max())}
        return Tile(numbers(wanted.pooled(array)), note)


def shortened(model: Model, path: str) -> Model:
    """The model up to the layer in which a branch stands: what comes after it is not run.

    It shares every weight. The whole model where that cannot be told from the path, or where the
    shorter one is none.
    """
    (name, layers, number, *_), stacks = path.split("."), model.spec.stacks
    if len(stacks) > 1 or layers != "layers":
        return model
    count = int(number) + 1
    try:
        spec = replace(stacks[0], layers=stacks[0].layers[:count])
        whole = replace(model.spec, stacks=(spec,))
    except SpecError:
        return model
    stack, module = copy.copy(model.module.get_submodule(name)), copy.copy(model.module)
    kept = torch.nn.ModuleList(list(stack.layers)[:count])
    stack._modules = stack._modules | {"layers": kept}
    module._modules = module._modules | {name: stack}
    module.spec = whole
    return Model(module, model.tokenizer)


def of_channels(scan: scans.Scan, values_TC: Tensor, *, squares: bool = False) -> Tile:
    """A number for each token and channel, or for neighbouring channels together."""
    array = numbers(scans.together(values_TC, squares=squares))
    note = {"channels": array.shape[1], "of": scan.channels, "max": float(array.max())}
    return Tile(array, note)


def tile(model: Model, ids: Sequence[int], kind: str, layer: str | int, **asked: Any) -> Tile:
    """A part of a picture of a layer, of which nothing is kept: see `Inside.tile`."""
    return Inside(model, ids).tile(kind, layer, **asked)
