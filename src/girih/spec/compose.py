"""Specs from a few words: `mamba2:3,attention:1` is three layers of one mixer, then one of another.

A word may have a number in brackets, `window(512)`; the pattern is repeated over the layers.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from girih.spec.base import positive, require
from girih.spec.errors import SpecError
from girih.spec.experts import Experts, Router, SharedExpert
from girih.spec.grouped import GroupedAttention
from girih.spec.latent import LatentAttention
from girih.spec.layers import Branch, Layer, Mixer
from girih.spec.masks import Causal, Sliding
from girih.spec.mixers import MLP, Attention
from girih.spec.model import MAX_LAYERS, Head, Model, Stack, Tokens
from girih.spec.norms import LayerNorm, RMSNorm
from girih.spec.positions import Rope
from girih.spec.scans import DeltaNet, Mamba, Mamba2, OutputGate, ShortConv
from girih.spec.state_space import StateSpace

NORMS: dict[str, RMSNorm | LayerNorm] = {"rms": RMSNorm(eps=1e-5), "layer": LayerNorm(eps=1e-5)}
INNER = RMSNorm(eps=1e-5)
"""Of what mixers norm inside them."""
TAPS = 4
"""Tokens that a short convolution sees."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the mixers of one model have in common."""

    width: int
    heads: int
    kv_heads: int
    head_dim: int

    @property
    def rope(self) -> Rope:
        """Rotary positions over whole heads."""
        return Rope(width=self.head_dim, theta=10_000.0)


def attention(sizes: Sizes, window: int | None = None) -> Attention:
    """Softmax attention, to all tokens or to the last ones."""
    return Attention(
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        mask=Causal() if window is None else Sliding(left=window - 1),
        position=sizes.rope,
    )


def latent(sizes: Sizes, rank: int) -> LatentAttention:
    """Multi-head latent attention."""
    rotated = Rope(width=max(sizes.head_dim // 4 * 2, 2), theta=10_000.0)
    return LatentAttention(
        heads=sizes.heads,
        kv_rank=rank,
        plain_dim=sizes.head_dim,
        rope_dim=rotated.width,
        value_dim=sizes.head_dim,
        norm=INNER,
        position=rotated,
    )


def grouped(sizes: Sizes, window: int) -> GroupedAttention:
    """Windows and representatives of the others."""
    return GroupedAttention(
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        sizes=(window,),
        position=sizes.rope,
    )


def mamba(sizes: Sizes, states: int) -> Mamba:
    """A selective scan, twice as wide as the stream, as its authors have it."""
    rank = -(-sizes.width // 16)
    return Mamba(inner=2 * sizes.width, states=states, rank=rank, conv=ShortConv(width=TAPS))


def mamba2(sizes: Sizes, states: int) -> Mamba2:
    """A state-space dual, twice as wide as the stream."""
    return Mamba2(
        heads=2 * sizes.heads,
        head_dim=sizes.head_dim,
        states=states,
        conv=ShortConv(width=TAPS),
        norm=INNER,
    )


def delta(
    sizes: Sizes, activation: Literal["silu", "sigmoid"], rank: int | None = None
) -> DeltaNet:
    """A gated delta rule; with a rank, decays and the gate are of low rank, one for a channel."""
    return DeltaNet(
        heads=sizes.heads,
        key_heads=sizes.heads,
        key_dim=sizes.head_dim,
        value_dim=sizes.head_dim,
        conv=ShortConv(width=TAPS, biased=False),
        norm=INNER,
        gate=OutputGate(activation=activation, rank=rank),
        decay_rank=rank,
    )


PART = r"([a-z0-9]+)(?:\(([1-9]\d{0,8})\))?(?::([1-9]\d{0,3}))?"
"""A word, a number in brackets, how many layers."""
Maker = Callable[[Sizes, int | None], Mixer]
WORDS: dict[str, Maker] = {
    "attention": lambda sizes, _: attention(sizes),
    "window": lambda sizes, window: attention(sizes, window or 512),
    "latent": lambda sizes, rank: latent(sizes, rank or max(sizes.width // 4, 8)),
    "grouped": lambda sizes, window: grouped(sizes, window or 64),
    "mamba": lambda sizes, states: mamba(sizes, states or 16),
    "mamba2": lambda sizes, states: mamba2(sizes, states or 64),
    "s4d": lambda sizes, pairs: StateSpace(channels=sizes.width, pairs=pairs or 32),
    "deltanet": lambda sizes, _: delta(sizes, "silu"),
    "kda": lambda sizes, _: delta(sizes, "sigmoid", sizes.head_dim),
}
"""Every mixer by its word; the number is that in the brackets: a window, states, a rank."""
ATTENDS = ("attention", "window", "latent", "grouped")
BARE = ("attention", "deltanet", "kda")
"""Words without a number."""


def compose(
    *,
    width: int = 256,
    layers: int = 8,
    mixer: str = "attention",
    vocab: int = 512,
    context: int = 2048,
    heads: int | None = None,
    kv_heads: int | None = None,
    hidden: int | None = None,
    experts: str | None = None,
    tied: bool = True,
    norm: str = "rms",
) -> Model:
    """A decoder of so many layers, each a mixer of the pattern, then an MLP or experts.

    `experts` is "8:2" (of eight, two for a token) or "8:2:1" (and one for every token); `hidden` is
    the width inside the MLP, or of the experts of a token together, and 0 leaves it out. Raises
    SpecError in one line for words and numbers that cannot be.
    """
    positive(width=width, layers=layers, vocab=vocab, context=context)
    require(layers <= MAX_LAYERS, f"layers: {layers} are more than {MAX_LAYERS}")
    require(norm in NORMS, f"norm {norm!r}: not known{nearest(norm, NORMS)}")
    sizes = sized(width, heads, kv_heads)
    mixed = list(pattern(mixer, sizes))
    inside = feed_forward(width, hidden, experts)
    found = NORMS[norm]
    branches = [
        (Branch(name="attn" if word in ATTENDS else "scan", pre=found, mixer=made),)
        for word, made in mixed
    ]
    name = "experts" if isinstance(inside, Experts) else "mlp"
    last = () if inside is None else (Branch(name=name, pre=found, mixer=inside),)
    stack = Stack(
        name="decoder",
        dim=width,
        input=Tokens(vocab=vocab),
        layers=tuple(Layer(branches=branches[i % len(mixed)] + last) for i in range(layers)),
        norm=found,
        head=Head(tied=tied),
        context=context,
    )
    return Model(stacks=(stack,))


def sized(width: int, heads: int | None, kv_heads: int | None) -> Sizes:
    """Heads as they are asked for; else at least four of at most 64 features."""
    if heads is None:
        fits = [size for size in (64, 32, 16, 8) if width % size == 0 and width >= 4 * size]
        require(bool(fits), f"width {width}: no heads come to mind; say how many (heads)")
        heads = width // fits[0]
    positive(heads=heads)
    require(width % (2 * heads) == 0, f"width {width} is not an even number for each of {heads}")
    return Sizes(width, heads, heads if kv_heads is None else kv_heads, width // heads)


def pattern(text: str, sizes: Sizes) -> Iterator[tuple[str, Mixer]]:
    """The words and mixers of a pattern, each as often as it says."""
    for part in text.split(","):
        found = re.fullmatch(
            r"([a-z0-9]+)(?:\(([1-9]\d{0,8})\))?(?::([1-9]\d{0,3}))?", part.strip()
        )
        if found is None:
            raise SpecError(
                f"mixer {part.strip()[:60]!r}: not a word as in mamba2, mamba2:3 or window(512):3"
            )
        word, inside, times = found.groups()
        require(word in WORDS, f"mixer {word!r}: not known{nearest(word, WORDS)}")
        require(inside is None or word not in BARE, f"mixer {part.strip()}: {word} has no number")
        mixer = WORDS[word](sizes, None if inside is None else int(inside))
        yield from [(word, mixer)] * int(times or 1)


def feed_forward(width: int, hidden: int | None, experts: str | None) -> MLP | Experts | None:
    """The second branch of a layer: 8/3 of the width in blocks of 32, as gated MLPs have it."""
    if hidden == 0 and experts is None:
        return None
    hidden = -(-width * 8 // 3 // 32) * 32 if hidden is None else hidden
    if experts is None:
        return MLP(hidden=hidden, activation="silu")
    found = re.fullmatch(r"(\d{1,5}):(\d{1,5})(?::(\d{1,3}))?", experts)
    if found is None:
        raise SpecError(f"experts {experts[:60]!r}: not numbers as in 8:2 (two of eight) or 8:2:1")
    count, top, shared = (int(number or 0) for number in found.groups())
    positive(count=count, top=top)
    each = max(hidden // top, 1)
    whole = MLP(hidden=each * shared, activation="silu") if shared else None
    return Experts(
        count=count,
        hidden=each,
        activation="silu",
        router=Router(top=top),
        shared=None if whole is None else SharedExpert(mlp=whole),
    )


def nearest(word: str, known: Collection[str]) -> str:
    """The known word that is like it, or all of them, as the end of a sentence."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
