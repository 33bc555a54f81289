"""girih with a memory of prompts and with tokens guessed ahead, at the other end of a pipe."""

import time
from pathlib import Path

import girih
from benchmarks.protocol import serve
from girih.engine.bench import arbitrary

KEPT = 4
"""Texts that the memory holds."""
LICENSE = (Path(girih.__file__).parents[2] / "LICENSE").read_text("utf-8")
PROMPTS = {
    "copied": "Repeat this text exactly, word for word:\n\n" + LICENSE[3000:4200],
    "ordinary": "Write a long story about a lighthouse keeper and a storm.",
}
"""Of a text that is copied guesses are often right, of an ordinary one hardly ever."""


class Ahead:
    """The sample model with the default plan."""

    def open(self, path: str) -> None:
        """Load a model."""
        loaded = girih.load(path)
        talks = {name: [{"role": "user", "content": text}] for name, text in PROMPTS.items()}
        self.prompts = {name: loaded.prompter.tokens(talk) for name, talk in talks.items()}
        # Without a tokenizer no end token ends a text, and none is turned into letters.
        self.model = girih.Model(loaded.module)
        self.vocab = self.model.spec.stacks[-1].input.vocab
        self.asked = 0

    def keep(self, tokens: int, more: int) -> int:
        """Read a prompt into a memory that has room for others like it; the bytes that it takes."""
        self.memory = self.model.memory(sequences=KEPT, tokens=tokens + more + 1)
        self.shared = arbitrary(tokens, self.vocab)
        self.model.generate([self.shared], max_tokens=1, memory=self.memory)
        return self.memory.bytes

    def first(self, more: int, reuse: bool) -> float:
        """Seconds to the first token after that prompt and `more` tokens that were never asked."""
        self.asked += 1
        prompt = self.shared + arbitrary(more, self.vocab, self.asked)
        memory = self.memory if reuse else None
        started = time.perf_counter()
        with self.model.stream(prompt, max_tokens=1, memory=memory) as stream:
            next(stream)
            taken = time.perf_counter() - started
            held = stream.result.cached_tokens
        assert held == (len(self.shared) if reuse else 0), f"{held} tokens were reused"
        return taken

    def decode(self, which: str, count: int, speculate: str | None) -> float:
        """Tokens per second of so many more tokens after a prompt."""
        return self.said(which, count, speculate).times.decode_tps

    def step(self, which: str, count: int) -> float:
        """Tokens a step with guesses; what is said must be what is said without them."""
        usual, ahead = (self.said(which, count, how) for how in (None, "lookup"))
        assert usual.tokens == ahead.tokens, "guesses changed the text"
        return ahead.tokens_per_step

    def said(self, which: str, count: int, speculate: str | None) -> girih.Generation:
        """A text of so many tokens, and one."""
        return self.model.generate(
            [self.prompts[which]], max_tokens=count + 1, speculate=speculate
        )[0]


if __name__ == "__main__":
    serve(Ahead())
