"""What one forward pass is about, now: packed tokens of several sequences, and their state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from girih.spec import Rope, SharedBias
from girih.state.capture import Capture
from girih.state.fixed import Carrier, Fixed


class Room(Protocol):
    """Where one layer's keys and values lie, for kernels that read and write them in place."""

    keys: Tensor
    """[pages, heads, entries of a page, width], and so the values."""
    values: Tensor
    table: Tensor
    """[sequences, pages of one]: where the pages of each sequence are."""
    size: int
    """Entries of a sequence; that of a position is in the place of the position modulo these."""
    window: int | None
    """How many of the last tokens a layer sees; None: all."""
    prepared: Any
    """Whatever a kernel keeps with it between steps."""


class Storage(Protocol):
    """Where the state of several sequences is kept."""

    def remember(
        self, path: str, values: Mapping[str, Tensor], step: "Step"
    ) -> list[Sequence[Tensor]]:
        """Keep the new entries of a step, packed [new entries, ...], behind those already there.

        Returns all that each sequence may see, by name: [heads, entries, width], in order.
        """

    def seen(self, path: str, name: str, step: "Step") -> Sequence[Tensor]:
        """All entries of each sequence of the step, once the new ones are written."""

    def positions(self, sequence: int) -> int:
        """How many tokens a sequence has behind it."""

    def horizon(self, sequence: int) -> int:
        """The most tokens that a sequence will come to."""

    def room(self, path: str, step: "Step", names: tuple[str, str] = ("k", "v")) -> Room | None:
        """Where the keys and values of a layer lie, with room for this step; None if nowhere."""

    def carries(self, step: "Step") -> Fixed:
        """What is fixed, with places for what this step writes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """What sequences of a step attend to besides themselves: entries of another stack."""

    features: Tensor
    """[S, M] packed, of one sequence after the other."""
    counts: tuple[int, ...]
    """Entries for each sequence of the step; 0 where it has been given them before."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One forward pass over sequences packed one after the other."""

    tokens: Tensor
    """[T] token ids."""
    positions: Tensor
    """[T] the place of each token in its sequence, or [T, axes] several of them."""
    counts: tuple[int, ...]
    """New tokens of each sequence: the host's copy of the packing, for backends that loop."""
    sequences: tuple[int, ...]
    """The row of the state in which each sequence is kept."""
    spans: Tensor
    """[sequences, 3]: row of the state, tokens before this step, new tokens."""
    horizons: tuple[int, ...]
    """The most tokens that each sequence will come to: some rotary encodings depend on it."""
    rows: Tensor | None = None
    """[R] packed rows that want logits; None: all."""
    state: Storage | None = None
    """None: whole sequences, nothing written in place."""
    rotations: Mapping[Rope, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Cosines and sines [T, width / 2] of each rotary encoding, filled by the stack."""
    biases: dict[SharedBias, Tensor] = field(default_factory=dict)
    """What the last relative bias adds to scores, filled by its layer for those that share it."""
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    """[T, width] for each layer with an input of its own, by the path of its reader, likewise."""
    lent: dict[str, Sequence[Sequence[Tensor]]] = field(default_factory=dict)
    """Keys and values as a layer found them, that later layers read too: by its path, filled as
    the step goes on; [heads, entries, width] of each sequence, the new ones too."""
    capture: Capture | None = None
    losses: list[Tensor] | None = None
    """Where a layer adds what it wants to be small, times its weight, while the model learns."""
    source: Source | None = None
    """What is given with this step; later ones attend to what was kept of it."""

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that each sequence has after this step."""
        if self.state is None:
            return self.counts
        places = zip(self.sequences, self.counts, strict=True)
        return tuple(self.state.positions(row) + count for row, count in places)

    def fit(self, capacity: int, given: Sequence[int], most: int) -> None:
        """Raise ValueError where a sequence is beyond the capacity, or is given a second source.

        Nor may one be of more than `most` entries.
        """
        if (end := max(self.ends)) > capacity:
            raise ValueError(f"state: {end} tokens are beyond the capacity of {capacity}")
        new = self.source.counts if self.source is not None else ()
        for row, count in zip(self.sequences, new, strict=False):
            if count and given[row]:
                raise ValueError(f"state: sequence {row} has a source already; evict it first")
            if count > most:
                raise ValueError(
                    f"state: {count} entries of a source are beyond the capacity of {most}"
                )

    def room(self, path: str, names: tuple[str, str] = ("k", "v")) -> Room | None:
        """Where the state keeps the keys and values of a layer, if they lie in one place."""
        return None if self.state is None else self.state.room(path, self, names)

    def seen(self, path: str, *names: str) -> list[Sequence[Tensor]]:
        """All entries of each sequence that the state holds, the new ones too, by name."""
        assert self.state is not None
        return [self.state.seen(path, name, self) for name in names]

    def completed(self, every: int) -> tuple[int, ...]:
        """The groups of so many tokens that each sequence completes in this step."""
        places = zip(self.ends, self.counts, strict=True)
        return tuple(end // every - (end - count) // every for end, count in places)

    def remember(self, path: str, *, every: int = 1, **values: Tensor) -> list[Sequence[Tensor]]:
        """Keep new entries [N, heads, width]; return all entries of each sequence, by name.

        There is one for each new token, or for each group of `every` tokens that is complete now.
        """
        if self.state is not None:
            return self.state.remember(path, values, self)
        return parted(values, self.completed(every))

    def carried(self, path: str, **shapes: tuple[int, ...]) -> list[Tensor]:
        """What each sequence carries from before the step, [S, *shape], in the order of the names.

        Float32 (float64 from such a state), and zeros where a sequence has no tokens yet. Raises
        ValueError where the state was made for another model.
        """
        if self.state is not None:
            return self.state.carries(self).carried(path, shapes, self.spans[:, 0])
        whole, device = len(self.counts), self.tokens.device
        return [torch.zeros(whole, *shape, device=device) for shape in shapes.values()]

    def carry(self, path: str, **values: Tensor) -> None:
        """What each sequence carries after the step, [S, *shape] float32; lost without a state."""
        if self.state is not None:
            self.state.carries(self).carry(path, values, self.spans[:, 0])

    def carrier(self, path: str, *names: str) -> Carrier | None:
        """Where the state keeps what a layer carries: what is written there needs no `carry`."""
        return None if self.state is None else self.state.carries(self).carrier(path, names)

    def remember_once(self, path: str, **values: Tensor) -> list[Sequence[Tensor]]:
        """Keep entries [S, heads, width] made of the source; return those of each sequence."""
        assert self.source is not None, "the step brings no source"
        if self.state is not None:
            return self.state.remember(path, values, self)
        return parted(values, self.source.counts)


def parted(values: Mapping[str, Tensor], counts: Sequence[int]) -> list[Sequence[Tensor]]:
    """Packed entries as [heads, entries, width] of each sequence, by name."""
    return [
        [part.transpose(0, 1) for part in torch.split(value, list(counts))]
        for value in values.values()
    ]


def step_of(
    sequences: Sequence[Sequence[int]],
    *,
    state: Storage | None = None,
    rows: Sequence[int] | None = None,
    positions: Sequence[Tensor] | None = None,
    logits: str = "all",
    capture: Capture | None = None,
    source: Source | None = None,
    device: torch.device | str = "cpu",
) -> Step:
    """The step that feeds these tokens to these rows of a state (by default 0, 1, 2, ...).

    `logits` says which tokens want them: "all", or the "last" of each sequence. `positions` are
    those of each sequence, [tokens] or [tokens, axes]; by default they are counted on from what the
    state holds. Raises ValueError where they are not as many as the tokens.
    """
    counts = tuple(len(tokens) for tokens in sequences)
    assert all(counts), "a sequence of a step is empty"
    kept = tuple(rows if rows is not None else range(len(counts)))
    starts = [state.positions(row) if state else 0 for row in kept]
    triples = list(zip(kept, starts, counts, strict=True))
    if positions is None:
        pairs = zip(starts, counts, strict=True)
        positions = [torch.arange(start, start + n) for start, n in pairs]
    elif [len(places) for places in positions] != list(counts):
        given = ", ".join(str(len(places)) for places in positions)
        raise ValueError(f"{given} positions for {', '.join(map(str, counts))} tokens")
    flat = [token for tokens in sequences for token in tokens]
    last = torch.tensor(counts).cumsum(0) - 1 if logits == "last" else None
    return Step(
        tokens=torch.tensor(flat, dtype=torch.long, device=device),
        positions=torch.cat(list(positions)).to(device),
        counts=counts,
        sequences=kept,
        spans=torch.tensor(triples, dtype=torch.long, device=device),
        horizons=tuple(state.horizon(row) for row in kept) if state else counts,
        rows=last.to(device) if last is not None else None,
        state=state,
        capture=capture,
        source=source,
    )
