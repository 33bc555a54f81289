"""What is carried whatever the length, against plain values, through all that may happen to it."""

import random

import pytest
import torch

from girih.spec import Slot
from girih.state.step import step_of
from girih.state.storage import State

SLOTS = {
    "a": (Slot("conv", (5, 3), fixed=True), Slot("scan", (2, 3, 4), fixed=True), Slot("k", (1, 2))),
    "b": (Slot("scan", (7,), fixed=True), Slot("near", (1, 2), window=4)),
}
SHAPES = {path: {s.name: s.shape for s in kinds if s.fixed} for path, kinds in SLOTS.items()}
ROWS, CAPACITY, SNAPSHOTS = 3, 60, 4
STORAGES = [
    {},
    {"page": 4},
    {"codec": "int8"},
    {"codec": "int4", "page": 1},
    {"dtype": torch.bfloat16},
    {"dtype": torch.float64, "codec": "int8"},
]


def state_of(slots=SLOTS, **asked):
    """A state whose memory is NaN, or full of ones, until it is written."""
    state = State(slots, **dict(sequences=ROWS, capacity=CAPACITY, slack=CAPACITY) | asked)
    for block in state.blocks.values():
        block.fill_(torch.nan if block.is_floating_point() else 255)
    return state


def read(step):
    """What the sequences of a step carry, one after the other, [S, values]."""
    found = [step.carried(path, **shapes) for path, shapes in SHAPES.items()]
    return torch.cat([value.flatten(1) for values in found for value in values], 1)


def write(step):
    """Carry random values on; what they are, as `read` gives them."""
    made = []
    for path, shapes in SHAPES.items():
        values = {name: torch.randn(len(step.counts), *shape) for name, shape in shapes.items()}
        step.carry(path, **values)
        made += values.values()
    return torch.cat([value.flatten(1) for value in made], 1)


class Life:
    """A state and plain values of each sequence, to which the same things happen."""

    def __init__(self, seed, **storage):
        self.state = state_of(snapshots=SNAPSHOTS, **storage)
        self.nothing = torch.zeros(5 * 3 + 2 * 3 * 4 + 7)
        self.has, self.lengths = [self.nothing] * ROWS, [0] * ROWS
        self.marks = {}
        self.chance = random.Random(seed)
        torch.manual_seed(seed)

    def live(self):
        for _ in range(200):
            often = [self.feed] * 4 + [self.mark] * 2
            self.chance.choice([*often, self.rewind, self.release, self.fork, self.evict])()
            if self.chance.random() < 0.05 and self.state.capacity < 2 * CAPACITY:
                self.state = self.state.grown(self.state.capacity + 7)

    def feed(self):
        """A step, perhaps begun in vain before, with the same rows or others."""
        for kept in self.chance.choice([(True,), (False, True), (False, False, True)]):
            rows = self.chance.sample(range(ROWS), self.chance.randint(1, ROWS))
            counts = [self.chance.choice([1, 1, 2, 5]) for _ in rows]
            if max(self.lengths) + 5 > self.state.capacity:
                return
            step = step_of([[0] * count for count in counts], state=self.state, rows=rows)
            for _ in range(self.chance.choice([1, 2])):
                had = torch.stack([self.has[row] for row in rows])
                assert torch.equal(read(step).float(), had)
                made = write(step)
                assert torch.equal(read(step).float(), had), "it can be repeated"
            if kept:
                self.state.advance(step)
                for row, count, own in zip(rows, counts, made, strict=True):
                    self.has[row] = own
                    self.lengths[row] += count

    def mark(self):
        row = self.chance.randrange(ROWS)
        places = {mark.place for mark in self.marks if mark.place is not None}
        more = self.lengths[row] and self.state.fixed.rows[row] not in places
        if more and len(places) == SNAPSHOTS:
            with pytest.raises(ValueError, match=r"4 points are marked, .* release a mark, or ask"):
                self.state.mark(row)
        else:
            self.marks[self.state.mark(row)] = self.has[row]

    def rewind(self):
        if self.marks:
            mark = self.chance.choice(list(self.marks))
            self.state.rewind(mark)
            self.now(mark.sequence, self.marks[mark], mark.length)

    def release(self):
        if self.marks:
            mark = self.chance.choice(list(self.marks))
            self.state.release(mark)
            del self.marks[mark]

    def fork(self):
        source, target = self.chance.sample(range(ROWS), 2)
        own = {mark: value for mark, value in self.marks.items() if mark.sequence == source}
        self.state.fork(source, target)
        self.now(target, self.has[source], self.lengths[source])
        copies = self.state.marks[target]
        self.marks |= dict(zip(copies, own.values(), strict=True))

    def evict(self):
        row = self.chance.randrange(ROWS)
        self.state.evict(row)
        self.now(row, self.nothing, 0)

    def now(self, row, has, length):
        """A sequence has something else; the marks that are left are those of the state."""
        self.has[row], self.lengths[row] = has, length
        kept = {mark for marks in self.state.marks for mark in marks}
        self.marks = {mark: value for mark, value in self.marks.items() if mark in kept}


@pytest.mark.parametrize("storage", STORAGES, ids=str)
def test_a_state_carries_what_was_given_to_it(storage):
    for seed in range(3):
        life = Life(seed, **storage)
        life.live()
        assert [life.state.positions(row) for row in range(ROWS)] == life.lengths
    exact = torch.float64 if storage.get("dtype") == torch.float64 else torch.float32
    assert {memory.dtype for memory in life.state.fixed.memory.values()} == {exact}
