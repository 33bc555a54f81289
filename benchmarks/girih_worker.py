"""girih as an engine of the benchmark; as for a user it is imported before torch."""

import dataclasses
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import girih
from benchmarks import tiny
from benchmarks.protocol import serve
from girih.checkpoints.source import open_source
from girih.engine.bench import arbitrary, decode_bytes, prefill_flops
from girih.engine.limits import limits, processor
from girih.engine.result import Times
from girih.engine.sample import Sampling


class Girih:
    """A model by girih's public interface, with the default plan."""

    loaded: tuple[str, Any] = ("", None)
    """The path of a file and its model, where one is compared with another engine's."""

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

    def tiny_names(self) -> list[str]:
        """The tiny models that can be made."""
        return list(tiny.CONFIGS)

    def tiny(self, name: str, path: str) -> None:
        """Make a tiny model and write it as a float32 GGUF file."""
        with tempfile.TemporaryDirectory() as folder:
            tiny.make(Path(folder) / "model", name)
            girih.convert(Path(folder) / "model", path, to="f32")

    def convert(self, model: str, path: str, kind: str) -> int:
        """Write a model as a GGUF file; its bytes."""
        girih.convert(model, path, to=kind)
        return os.path.getsize(path)

    def precise(self, path: str) -> girih.Model:
        """A file's model in float32, loaded once; blocks stay packed."""
        if self.loaded[0] != path:
            self.loaded = (path, girih.load(path, girih.Plan(dtype="float32")))
        return self.loaded[1]

    def ids(self, path: str, text: str) -> list[int]:
        """The tokens of a text."""
        words = self.precise(path).tokenizer
        assert words is not None
        return words.encode(text)

    def greedy(self, path: str, prompt: list[int], count: int) -> list[int]:
        """The likeliest tokens one by one after a prompt; no end token ends them."""
        found = girih.Model(self.precise(path).module).generate([prompt], max_tokens=count)
        return list(found[0].tokens)

    def against(self, path: str, prompt: list[int], saved: str) -> dict[str, Any]:
        """How far another engine's logits of every token are from girih's in float32."""
        ours = self.precise(path).logits([prompt])[0].float().numpy()
        theirs = np.load(saved)
        leaves = self.precise(path).spec.stacks[0].leaves()
        acts = [getattr(branch.mixer, "activation", "") for _, branch in leaves]
        return {
            "distance": float(abs(ours - theirs).max() / abs(ours).max()),
            "rows": len(ours),
            "same": int((ours.argmax(-1) == theirs.argmax(-1)).sum()),
            "gelu": any(str(act).startswith("gelu") for act in acts),
        }

    def prefill(self, prompt: list[int]) -> float:
        """Tokens per second of reading a prompt."""
        return self.times([prompt], 1).prefill_tps

    def decode(self, prompt: list[int], count: int) -> float:
        """Tokens per second of so many more tokens after a prompt."""
        return self.times([prompt], count + 1).decode_tps

    def remember(self, prompt: list[int]) -> None:
        """Read a prompt, after which `decode_remembered` goes on again and again."""
        self.prompt, self.memory = prompt, self.model.memory(sequences=1, tokens=len(prompt) + 256)
        list(self.model.run([prompt], Sampling(max_tokens=1), self.memory))

    def decode_remembered(self, count: int) -> float:
        """Tokens per second of so many tokens after what is remembered."""
        run = self.model.run([[*self.prompt, 1]], Sampling(max_tokens=count + 1), self.memory)
        assert sum(1 for _ in run) == count + 1 and run.results()[0].prompt_tokens
        return run.results()[0].times.decode_tps

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
