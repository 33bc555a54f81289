"""What a state holds and what it has allocated, path by path, in bytes."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from girih.state.block import Block
from girih.state.fixed import Fixed, Key, held
from girih.state.mark import Mark


def ledger(
    paths: Iterable[str],
    kept: Mapping[Key, Block],
    fixed: Fixed,
    lengths: Sequence[int],
    given: Sequence[int],
    marks: Sequence[Collection[Mark]],
) -> dict[str, tuple[int, int]]:
    """The bytes that hold something, and those of the tensors, of each path.

    Of a sequence of so many tokens that is an entry for each of them, at most as many as there is
    room for; pages and places that several sequences share count once. What is fixed holds
    something where a sequence has tokens, and where a point is marked.
    """
    used: Counter[str] = Counter()
    allocated: Counter[str] = Counter()
    for (path, _), block in kept.items():
        slot, table, size = block.slot, block.table, sum(plane.nbytes for plane in block.planes)
        rows = given if slot.once else [length // slot.every for length in lengths]
        places = table.pages * table.page
        used[path] += table.held(rows) * (size // places) if places else 0
        allocated[path] += size
    places_in_use = {place for place in fixed.rows if place is not None} | held(marks)
    for (path, _), memory in fixed.memory.items():
        used[path] += len(places_in_use) * (memory.nbytes // len(memory))
        allocated[path] += memory.nbytes
    return {path: (used[path], allocated[path]) for path in paths if path in allocated}
