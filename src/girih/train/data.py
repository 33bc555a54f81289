"""What is learned from: documents cut into pieces, pieces packed into batches.

N tokens, P pieces, R tokens that are predicted.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from girih.checkpoints.tokenizer import Tokenizer
from girih.state.step import Step, step_of

Document = Sequence[int] | Tensor | np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Sequences packed one after the other, and what follows each token that counts."""

    sequences: list[list[int]]
    rows_R: Tensor
    targets_R: Tensor

    def step(self, device: torch.device | str) -> Step:
        """The step that predicts the targets; layers may add losses of their own to it."""
        step = step_of(self.sequences, device=device)
        return replace(step, rows=self.rows_R.to(device), losses=[])


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Pieces of documents: no piece sees another."""

    ids_N: Tensor
    counted_N: Tensor
    """Which tokens are to be predicted."""
    spans_P2: Tensor
    """First token of each piece, and the end. The first one of a piece is given, not predicted."""

    @classmethod
    def of(
        cls, documents: Iterable[Document], context: int, masks: Iterable[Document] | None = None
    ) -> "Data":
        """Documents as pieces of at most `context` + 1 tokens, each begun by the last one's end.

        With `masks`, one for each document, only tokens at which theirs is true are predicted.
        Raises ValueError where there is nothing to predict.
        """
        parts = [torch.as_tensor(one, dtype=torch.long).reshape(-1) for one in documents]
        wanted = [torch.ones(len(part), dtype=torch.bool) for part in parts]
        if masks is not None:
            wanted = [torch.as_tensor(one, dtype=torch.bool).reshape(-1) for one in masks]
        if [len(part) for part in parts] != [len(mask) for mask in wanted]:
            raise ValueError("the masks are not as many or as long as the documents")
        spans, start = [], 0
        for part in parts:
            end = start + len(part)
            spans += [(at, min(at + context + 1, end)) for at in range(start, end - 1, context)]
            start = end
        if not spans:
            raise ValueError("there is no document of two tokens: nothing to predict")
        return cls(torch.cat(parts), torch.cat(wanted), torch.tensor(spans))

    def __len__(self) -> int:
        return len(self.spans_P2)

    @property
    def mark(self) -> str:
        """What tells these pieces from others."""
        found = hashlib.sha256()
        for part in (self.ids_N, self.counted_N, self.spans_P2):
            found.update(part.numpy().tobytes())
        return found.hexdigest()[:16]

    def split(self, share: float) -> "tuple[Data, Data | None]":
        """All but the last pieces, and the last ones, which are such a share of all."""
        last = min(max(round(share * len(self)), 1), len(self) - 1) if share > 0 else 0
        if not last:
            return self, None
        first, rest = self.spans_P2[:-last], self.spans_P2[-last:]
        return replace(self, spans_P2=first), replace(self, spans_P2=rest)

    def batch(self, pieces: Sequence[int]) -> Batch:
        """Some pieces packed."""
        sequences, rows, targets, at = [], [], [], 0
        for piece in pieces:
            start, end = self.spans_P2[piece].tolist()
            sequences.append(self.ids_N[start : end - 1].tolist())
            wanted = self.counted_N[start + 1 : end].nonzero()[:, 0]
            rows.append(wanted + at)
            targets.append(self.ids_N[start + 1 : end][wanted])
            at += end - 1 - start
        return Batch(sequences, torch.cat(rows), torch.cat(targets))

    def packed(self, order: Iterable[int], tokens: int) -> Iterator[list[int]]:
        """Pieces in this order, as many at a time as have at most so many tokens."""
        held: list[int] = []
        room = tokens
        for piece in order:
            start, end = self.spans_P2[piece].tolist()
            if held and end - start - 1 > room:
                yield held
                held, room = [], tokens
            held.append(piece)
            room -= end - start - 1
        if held:
            yield held


class Batches:
    """Batches without end, in an order drawn anew for each pass; `at` is how many pieces went."""

    def __init__(self, data: Data, tokens: int, seed: int, at: int = 0) -> None:
        self.data, self.seed, self.at = data, seed, at
        self.groups = data.packed(self.order(at), tokens)

    def order(self, at: int) -> Iterator[int]:
        """The pieces from a place on."""
        while True:
            turn, first = divmod(at, len(self.data))
            made = torch.Generator().manual_seed(self.seed * 1_000_003 + turn)
            found = torch.randperm(len(self.data), generator=made)
            yield from found[first:].tolist()
            at += len(self.data) - first

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        pieces = next(self.groups)
        self.at += len(pieces)
        return self.data.batch(pieces)


def documents(
    paths: Iterable[str | Path], tokenizer: Tokenizer | None, split: str | None = None
) -> list[Tensor]:
    """Texts as token ids, a document for each file, or for each part of one between `split`.

    A file .npy holds token ids: one document, or one in each row. Raises ValueError or OSError in
    one line for what cannot be read.
    """
    out: list[Tensor] = []
    for path in map(Path, paths):
        if path.suffix == ".npy":
            out += arrays(path)
            continue
        if tokenizer is None:
            raise ValueError(f"{path}: there is no tokenizer to read a text with; name one")
        for text in texts([path], split):
            ids = tokenizer.encode(text)
            ended = tokenizer.eos is not None and ids[-1:] != [tokenizer.eos]
            out.append(torch.tensor([*ids, tokenizer.eos] if ended else ids))
    return out


def texts(paths: Iterable[str | Path], split: str | None = None) -> Iterator[str]:
    """The documents of text files; raises ValueError for one that is not UTF-8."""
    for path in map(Path, paths):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text") from None
        yield from (part for part in (text.split(split) if split else [text]) if part.strip())


def arrays(path: Path) -> list[Tensor]:
    """The token ids of a NumPy file."""
    try:
        found = np.load(path)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not an array of NumPy: {str(error).splitlines()[0]}") from None
    if found.dtype.kind not in "iu" or found.ndim not in (1, 2):
        raise ValueError(f"{path}: {found.dtype} of {found.ndim} axes, not rows of token ids")
    return list(torch.from_numpy(found.astype(np.int64)).reshape(-1, found.shape[-1]))
