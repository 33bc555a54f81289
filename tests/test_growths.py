"""Every way to grow against lists of entries, through whatever may happen to a sequence."""

import random

import pytest
import torch

from girih.spec import Slot
from girih.state.step import Source, step_of
from girih.state.storage import State

SLOTS = {
    "a": (Slot("all", (2, 3)), Slot("near", (1, 2), window=4), Slot("one", (1, 1), window=1)),
    "b": (Slot("thirds", (2, 2), every=3), Slot("fifths", (1, 2), every=5)),
    "c": (Slot("given", (3, 2), once=True),),
}
KINDS = [(path, slot) for path, kinds in SLOTS.items() for slot in kinds]
ROWS, CAPACITY, SOURCES, SLACK = 3, 40, 6, 5


def poison(state):
    """Fill all memory of a state with what must not be read."""
    for block in state.blocks.values():
        block.fill_(torch.nan if block.is_floating_point() else 255)


class Life:
    """A state and its lists, to which the same things happen."""

    def __init__(self, seed, **storage):
        self.state = State(
            SLOTS, sequences=ROWS, capacity=CAPACITY, slack=SLACK, sources=SOURCES, **storage
        )
        poison(self.state)
        self.lists = [{(path, slot.name): [] for path, slot in KINDS} for _ in range(ROWS)]
        self.lengths = [0] * ROWS
        self.marks = []
        self.chance = random.Random(seed)
        torch.manual_seed(seed)

    def live(self):
        for _ in range(80):
            self.chance.choice(
                [
                    self.feed,
                    self.feed,
                    self.feed,
                    self.feed,
                    self.mark,
                    self.rewind,
                    self.fork,
                    self.evict,
                    self.grow,
                ]
            )()

    def feed(self):
        """A step, perhaps tried in vain before."""
        rows = self.chance.sample(range(ROWS), self.chance.randint(1, ROWS))
        counts = [self.chance.choice([1, 1, 2, 3, 7]) for _ in rows]
        if max(self.lengths[row] + max(counts) for row in rows) > self.state.capacity:
            return
        new = [
            0 if self.lists[row]["c", "given"] else self.chance.choice([0, 2, SOURCES])
            for row in rows
        ]
        for kept in self.chance.choice([(True,), (False, True)]):
            source = Source(features=torch.empty(sum(new), 4), counts=tuple(new))
            step = step_of(
                [[0] * count for count in counts],
                state=self.state,
                rows=rows,
                source=source if any(new) else None,
            )
            made = self.remembered(step, rows, counts, new)
            if kept:
                self.keep(step, rows, counts, made)

    def remembered(self, step, rows, counts, new):
        """New entries of every slot; what the state shows is what the lists have with them."""
        made = {}
        for path, slot in KINDS:
            sizes = list(step.completed(slot.every))
            if slot.once:
                sizes = new
            parts = [torch.randn(size, *slot.shape) for size in sizes]
            value = torch.cat(parts)
            if slot.once and step.source is None:
                (seen,) = step.seen(path, slot.name)
            elif slot.once:
                (seen,) = step.remember_once(path, **{slot.name: value})
            else:
                (seen,) = step.remember(path, every=slot.every, **{slot.name: value})
            (again,) = step.seen(path, slot.name)
            made[path, slot.name] = [self.stored(part, path, slot) for part in parts]
            for at, (row, part) in enumerate(zip(rows, parts, strict=True)):
                old = self.lists[row][path, slot.name]
                if slot.window is not None:
                    old = old[max(0, len(old) - slot.window + 1) :]
                whole = [*old, *self.stored(part, path, slot)]
                right = torch.stack(whole, 1) if whole else torch.empty(slot.shape[0], 0, 1)
                assert seen[at].shape[1] == len(whole), (path, slot)
                if whole:
                    assert torch.equal(seen[at], right) and torch.equal(again[at], right)
        return made

    def stored(self, part, path, slot):
        """Entries as they come back."""
        block = self.state.kept[path, slot.name]
        return block.codec.decode(block.codec.encode(part), block.width)

    def keep(self, step, rows, counts, made):
        self.state.advance(step)
        for at, (row, count) in enumerate(zip(rows, counts, strict=True)):
            for key, parts in made.items():
                self.lists[row][key] += parts[at]
            self.lengths[row] += count

    def mark(self):
        row = self.chance.randrange(ROWS)
        copied = {key: list(entries) for key, entries in self.lists[row].items()}
        self.marks.append((self.state.mark(row), self.lengths[row], copied))

    def rewind(self):
        self.marks = [kept for kept in self.marks if kept[0] in self.state.marks[kept[0].sequence]]
        good = [kept for kept in self.marks if self.state.rewindable(kept[0])]
        for mark, length, _ in self.marks:
            near = self.state.written[mark.sequence] - length
            assert self.state.rewindable(mark) or near > SLACK, "the slack is kept"
        if good:
            mark, length, copied = self.chance.choice(good)
            self.state.rewind(mark)
            self.lengths[mark.sequence] = length
            self.lists[mark.sequence] = {key: list(entries) for key, entries in copied.items()}

    def fork(self):
        source, target = self.chance.sample(range(ROWS), 2)
        self.state.fork(source, target)
        self.lengths[target] = self.lengths[source]
        self.lists[target] = {key: list(kept) for key, kept in self.lists[source].items()}

    def evict(self):
        row = self.chance.randrange(ROWS)
        self.state.evict(row)
        self.lengths[row] = 0
        self.lists[row] = {(path, slot.name): [] for path, slot in KINDS}

    def grow(self):
        if self.state.capacity < 2 * CAPACITY:
            self.state = self.state.grown(self.state.capacity + 7)


@pytest.mark.parametrize("codec", ["plain", "int8", "int4"])
@pytest.mark.parametrize("page", [None, 1, 4, 64])
def test_a_state_holds_what_lists_hold(page, codec):
    for seed in range(2):
        life = Life(seed, page=page, codec=codec)
        life.live()
        assert [life.state.positions(row) for row in range(ROWS)] == life.lengths
        for row in range(ROWS):
            life.state.evict(row)
        for table in life.state.tables.values():
            assert len(table.free) == table.pages and not any(table.owners), "pages come back"


def test_a_source_is_given_once_and_fits():
    state = State(SLOTS, sequences=2, capacity=9, sources=3)
    for count, words in ((4, "4 entries of a source are beyond the capacity of 3"), (3, None)):
        source = Source(features=torch.empty(count, 4), counts=(count,))
        step = step_of([[0]], state=state, rows=[1], source=source)
        if words:
            with pytest.raises(ValueError, match=words):
                step.remember_once("c", given=torch.ones(count, 3, 2))
            continue
        step.remember_once("c", given=torch.ones(count, 3, 2))
        state.advance(step)
        with pytest.raises(ValueError, match="sequence 1 has a source already; evict it first"):
            step.remember_once("c", given=torch.ones(count, 3, 2))
    state.evict(1)
    step = step_of([[0]], state=state, rows=[1], source=source)
    step.remember_once("c", given=torch.ones(3, 3, 2))


@pytest.mark.parametrize("page", [None, 1])
def test_a_source_is_forgotten_with_what_came_after_the_mark(page):
    state = State(SLOTS, sequences=1, capacity=9, slack=3, sources=5, page=page)
    marks, seen = [], []
    for count in (0, 5, 0):
        source = Source(features=torch.empty(count, 4), counts=(count,))
        step = step_of([[0]], state=state, source=source if count else None)
        if count:
            step.remember_once("c", given=torch.arange(30.0).view(5, 3, 2))
        seen.append(step.seen("c", "given")[0][0].clone())
        state.advance(step)
        marks.append(state.mark(0))
    for mark, entries in ((2, 5), (1, 5), (0, 0)):
        state.rewind(marks[mark])
        again = step_of([[0]], state=state).seen("c", "given")[0][0]
        assert torch.equal(again, seen[mark]) and again.shape[1] == entries


def test_bytes_predicted_are_allocated():
    for capacity, sources, slack in ((40, 6, 0), (3, 1, 5), (14, 0, 2)):
        state = State(SLOTS, sequences=2, capacity=capacity, slack=slack, sources=sources)
        values = [slot.values(capacity, slack, sources) for _, slot in KINDS]
        assert state.bytes == 2 * 4 * sum(values)
        by_hand = 6 * capacity + 2 * min(capacity, 4 + slack) + min(capacity, 1 + slack)
        by_hand += 4 * (capacity // 3) + 2 * (capacity // 5) + 6 * sources
        assert sum(values) == by_hand


def test_without_a_state_each_sequence_has_its_own_groups():
    step = step_of(
        [[0] * 7, [0] * 2, [0] * 3], source=Source(features=torch.empty(3, 1), counts=(2, 0, 1))
    )
    assert step.completed(3) == (2, 0, 1)
    (some,) = step.remember("b", every=3, thirds=torch.arange(12.0).view(3, 2, 2))
    assert [part.shape for part in some] == [(2, 2, 2), (2, 0, 2), (2, 1, 2)]
    assert some[2].flatten().tolist() == [8, 9, 10, 11]
    (given,) = step.remember_once("c", given=torch.arange(3.0).view(3, 1, 1))
    assert [part.flatten().tolist() for part in given] == [[0, 1], [], [2]]
