"""Tasks that a mixer must be able to learn, and how well a model has learned one.

A task draws sequences of token ids [count, length], and which of their tokens follow from those
before them. No sequence of a test is among those that are learned, but by chance.
"""

from dataclasses import dataclass

import torch

from girih.plan import Plan
from girih.spec.compose import compose
from girih.train import Data, Settings, train

HELD_OUT = 256


@dataclass(frozen=True)
class Recall:
    """Pairs of a key and a value; where a key comes again, its value is that of the first time."""

    keys: int = 8
    values: int = 8
    pairs: int = 16

    @property
    def vocab(self):
        return self.keys + self.values

    def drawn(self, count, made):
        keys = torch.randint(self.keys, (count, self.pairs), generator=made)
        table = torch.randint(self.values, (count, self.keys), generator=made) + self.keys
        seen = (keys[:, :, None] == keys[:, None]).tril(-1).any(-1)
        ids = torch.stack([keys, table.gather(1, keys)], -1).flatten(1)
        return ids, torch.stack([torch.zeros_like(seen), seen], -1).flatten(1)


@dataclass(frozen=True)
class Copying:
    """A few words among many blanks; after the sign they come again in their order."""

    words: int = 8
    marked: int = 4
    length: int = 20

    @property
    def vocab(self):
        return self.words + 2

    def drawn(self, count, made):
        words = torch.randint(self.words, (count, self.marked), generator=made)
        ids = torch.full((count, self.length), self.words)
        places = torch.rand(count, self.length, generator=made).argsort(1)[:, : self.marked]
        ids.scatter_(1, places.sort(1).values, words)
        sign = torch.full((count, 1), self.words + 1)
        asked = torch.zeros(count, self.length + 1 + self.marked, dtype=torch.bool)
        asked[:, self.length + 1 :] = True
        return torch.cat([ids, sign, words], 1), asked


@dataclass(frozen=True)
class Sum:
    """Digits, most of them 0; after the sign their sum, which is a token of its own."""

    digits: int = 3
    marked: int = 4
    length: int = 48

    @property
    def vocab(self):
        return self.most + 2 + self.digits

    @property
    def most(self):
        """The largest sum."""
        return self.marked * (self.digits - 1)

    def drawn(self, count, made):
        digits = torch.randint(self.digits, (count, self.marked), generator=made)
        ids = torch.zeros(count, self.length, dtype=torch.long)
        places = torch.rand(count, self.length, generator=made).argsort(1)[:, : self.marked]
        ids.scatter_(1, places, digits)
        ends = torch.stack([torch.full((count,), self.digits), digits.sum(1) + self.digits + 1], 1)
        asked = torch.zeros(count, self.length + 2, dtype=torch.bool)
        asked[:, -1] = True
        return torch.cat([ids, ends], 1), asked


def model(mixer, task, heads=2, **more):
    """A small model of one mixer for a task."""
    return compose(
        width=32, layers=2, mixer=mixer, vocab=task.vocab, context=256, heads=heads, **more
    )


def accuracy_after(spec, task, seed, steps, rate=1e-2, sequences=32, **more):
    """The share of held-out tokens that follow, which a spec predicts after so many steps."""
    made = torch.Generator().manual_seed(1000 + seed)
    ids, asked = task.drawn(sequences * steps, made)
    tests, wanted = task.drawn(HELD_OUT, made)
    length = ids.shape[1] - 1
    settings = Settings(
        steps=steps, batch=sequences * length, context=length, rate=rate, warmup=steps // 10,
        floor=0.02, decay=0.01, seed=seed, **more,
    )  # fmt: skip
    plan = Plan(device="cpu", dtype="float32")
    found = train(spec, Data.of(ids, length, asked), settings=settings, plan=plan)
    batch = Data.of(tests, length, wanted).batch(range(HELD_OUT))
    with torch.no_grad():
        logits_RV = found.module(batch.step("cpu"))
    return float((logits_RV.argmax(-1) == batch.targets_R).float().mean())
