"""girih as an engine of the benchmark; as for a user it is imported before torch."""

import dataclasses
import os
import sys
from importlib.metadata import version
from typing import Any

import girih
from benchmarks.protocol import serve
from girih.checkpoints.source import open_source
from girih.engine.bench import arbitrary, decode_bytes, prefill_flops
from girih.engine.limits import limits, processor
from girih.engine.result import Times


class Girih:
    """A model by girih's public interface, with the default plan."""

    def machine(self) -> dict[str, Any]:
        """What the machine is and can do at most."""
        found = dataclasses.asdict(limits())
        return found | {
            "processor": processor(),
            "versions": {
                "girih": girih.__version__,
                "torch": version("torch"),
                "Python": sys.version.split()[0],
            },
        }

    def open(self, path: str) -> dict[str, Any]:
        """Load a model; its file's size and what runs it."""
        self.source = open_source(path)
        loaded = girih.load(path)
        # Without a tokenizer no end token ends a text, and none is turned into letters.
        self.model = girih.Model(loaded.module)
        backends = {f"{row['op']}: {row['backend']}" for row in loaded.explain()}
        return {
            "path": str(self.source.path),
            "bytes": os.path.getsize(self.source.path),
            "vocab": self.model.spec.stacks[-1].input.vocab,
            "backends": sorted(backends),
        }

    def prefill(self, prompt: list[int]) -> float:
        """Tokens per second of reading a prompt."""
        return self.times([prompt], 1).prefill_tps

    def decode(self, prompt: list[int], count: int) -> float:
        """Tokens per second of so many more tokens after a prompt."""
        return self.times([prompt], count + 1).decode_tps

    def together(self, prompts: list[list[int]], count: int, layout: str = "dense") -> float:
        """Tokens per second of several sequences, all counted."""
        self.model.plan = dataclasses.replace(self.model.plan, layout=layout)
        return self.times(prompts, count + 1).decode_tps

    def times(self, prompts: list[list[int]], count: int) -> Times:
        """The times of generating, checked to be of as many tokens as were asked for."""
        found = self.model.generate(prompts, max_tokens=count)
        assert all(len(one.tokens) == count for one in found), "a text ended early"
        return found[0].times

    def needs(self, tokens: int, sequences: int = 1) -> dict[str, float]:
        """FLOPs of a token of such a prompt; bytes of a token of each sequence after it."""
        spec, formats, compute = self.model.spec, self.source.formats, self.model.plan.compute
        return {
            "flops": prefill_flops(spec, tokens),
            "bytes": decode_bytes(spec, formats, tokens, compute, sequences) / sequences,
        }

    def prompts(self, tokens: int, count: int = 1) -> list[list[int]]:
        """Prompts of so many arbitrary tokens."""
        vocab = self.model.spec.stacks[-1].input.vocab
        return [arbitrary(tokens, vocab, at) for at in range(count)]


if __name__ == "__main__":
    serve(Girih())
