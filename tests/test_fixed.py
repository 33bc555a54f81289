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
    for seed in range(2):
        life = Life(seed, **storage)
        life.live()
        assert [life.state.positions(row) for row in range(ROWS)] == life.lengths
    exact = torch.float64 if storage.get("dtype") == torch.float64 else torch.float32
    assert {memory.dtype for memory in life.state.fixed.memory.values()} == {exact}


def fed(state, row=0, count=2):
    """A step of one sequence, counted; what it carries then."""
    step = step_of([[0] * count], state=state, rows=[row])
    made = write(step)[0]
    state.advance(step)
    return made


def test_a_point_is_marked_where_it_is_reached():
    state = state_of(snapshots=2)
    start = state.mark(1)
    fed(state, 1)
    second = fed(state, 1)
    marks = [state.mark(1) for _ in range(9)]  # of one point, which take one snapshot together
    fed(state, 1)
    for at in (2, 5):
        with pytest.raises(ValueError, match=f"1 has passed token {at} without a mark, and what"):
            state.mark(1, at)
    with pytest.raises(ValueError, match="sequence 1 of 6 tokens has no point at token 7"):
        state.mark(1, 7)
    again = state.mark(1, 4)
    for mark in marks:
        state.release(mark)
    assert [state.reach(1, at) for at in (0, 3, 4, 5, 6, 99)] == [0, 0, 4, 4, 6, 6]
    last = state.mark(1)
    fed(state, 1)
    with pytest.raises(ValueError, match=r"2 points are marked, for which there are 2 snapshots;"):
        state.mark(1)
    state.mark(1, 6), state.mark(2), state.mark(1, 0)
    state.rewind(again)
    assert torch.equal(read(step_of([[0]], state=state, rows=[1]))[0], second)
    with pytest.raises(ValueError, match="cannot be rewound to token 6: there is no such mark"):
        state.rewind(last)
    state.rewind(start)
    assert not read(step_of([[0]], state=state, rows=[1])).any()


def test_all_places_are_used_before_one_is_refused():
    """Every row steps at once, each with a mark that no other has, and forks share the rest."""
    state = state_of(sequences=5, snapshots=5)
    rows = list(range(5))
    for _ in range(3):
        marks = [state.mark(row) for row in rows]
        step = step_of([[0]] * 5, state=state, rows=rows)
        made = write(step)
        state.advance(step)
        step = step_of([[0]] * 5, state=state, rows=rows)
        assert torch.equal(read(step), made)
        write(step)
        if marks[0].length:
            used = {*state.fixed.rows, *(mark.place for mark in marks), *state.fixed.next.values()}
            assert used == set(range(15))
        for mark in marks:
            state.release(mark)


def test_kernels_are_told_where_to_read_and_write():
    state = state_of(sequences=3, snapshots=1)
    assert step_of([[0]]).carrier("a", "scan") is None
    step = step_of([[0], [0]], state=state, rows=[2, 0])
    carrier = step.carrier("a", "scan", "conv")
    assert [memory.shape[1:] for memory in carrier.memory] == [(2, 3, 4), (5, 3)]
    addresses = [memory.data_ptr() for memory in (*carrier.memory, carrier.table)]
    assert carrier.table[[0, 2], 0].tolist() == [-1, -1]
    before = []
    for turn in range(5):
        step = step_of([[0], [0]], state=state, rows=[2, 0])
        assert step.carrier("a", "scan", "conv") is carrier
        reads, writes = carrier.table[step.spans[:, 0]].T.tolist()
        assert not set(reads) & set(writes) and len(set(writes)) == 2
        if turn:
            assert reads == before
            scans = [carrier.memory[0][place] for place in reads]
            assert torch.equal(torch.stack(scans), step.carried("a", scan=(2, 3, 4))[0])
        write(step)
        state.advance(step)
        before = writes
    assert [memory.data_ptr() for memory in (*carrier.memory, carrier.table)] == addresses
    state.evict(0)
    step = step_of([[0]], state=state, rows=[0])
    assert step.carrier("a", "scan", "conv").table[0, 0] == -1


def test_a_step_without_a_state_begins_with_zeros_and_leaves_nothing():
    step = step_of([[0] * 3, [0]])
    conv, scan = step.carried("anywhere", conv=(2, 3), scan=(4,))
    assert conv.shape == (2, 2, 3) and scan.shape == (2, 4) and not conv.any() and not scan.any()
    step.carry("anywhere", conv=conv + 1, scan=scan)
    assert not step.carried("anywhere", conv=(2, 3))[0].any()


def test_a_step_that_ends_halfway_changes_nothing():
    state = state_of()
    had = fed(state)
    step = step_of([[0] * 4], state=state)
    step.carry("a", scan=torch.ones(1, 2, 3, 4))  # and then it ends, before the rest is carried
    again = step_of([[0]], state=state)
    assert torch.equal(read(again)[0], had) and state.positions(0) == 2


def test_what_is_carried_does_not_hold_on_to_how_it_was_made():
    state = state_of()
    weight = torch.ones(1, 2, 3, 4, requires_grad=True)
    step = step_of([[0]], state=state)
    write(step)
    step.carry("a", scan=weight * 2)
    state.advance(step)
    (scan,) = step_of([[0]], state=state).carried("a", scan=(2, 3, 4))
    assert scan.eq(2).all() and not scan.requires_grad


MISFITS = {
    "another width": ({"scan": torch.ones(1, 2, 3, 5)}, "scan of shape [1, 2, 3, 5] in float32"),
    "two sequences": ({"conv": torch.ones(2, 5, 3)}, "the state has [1, 5, 3] in float32"),
    "rounded": ({"scan": torch.ones(1, 2, 3, 4).bfloat16()}, "in bfloat16 cannot be carried on"),
    "to be rounded": ({"scan": torch.ones(1, 2, 3, 4).double()}, "in float64 cannot be carried"),
    "no such slot": ({"scam": torch.ones(1)}, "the state carries no 'scam': it is that of another"),
    "one that grows": ({"k": torch.ones(1, 1, 2)}, "the state carries no 'k'"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_is_refused_by_name(name):
    values, says = MISFITS[name]
    state = state_of()
    had = fed(state)
    step = step_of([[0]], state=state)
    with pytest.raises(ValueError) as caught:
        step.carry("a", **values)
    assert str(caught.value).startswith("a: ") and says in str(caught.value)
    assert torch.equal(read(step)[0], had)


def test_a_state_of_another_model_is_refused():
    step = step_of([[0]], state=state_of())
    with pytest.raises(ValueError, match=r"c: the state carries no 'scan': it is that of another"):
        step.carried("c", scan=(7,))
    with pytest.raises(ValueError, match=r"b: the state's scan has the shape \[7\], the layer's"):
        step.carried("b", scan=(8,))
    with pytest.raises(ValueError, match="c: the state carries no 'conv'"):
        step.carrier("c", "conv")
    wide = step_of([[0]], state=state_of(dtype=torch.float64))
    wide.carry("b", scan=torch.ones(1, 7))  # exact in more digits
    wide.carry("b", scan=torch.ones(1, 7).double())
