"""llama.cpp as an engine of the benchmark, through llama-cpp-python's bindings of its C functions.

The bindings' own class makes the same calls with more Python around them, so it is not used.
"""

import ctypes
import time
from importlib.metadata import version
from typing import Any

import llama_cpp
import numpy as np

from benchmarks.protocol import serve

SETTINGS = {"flash": (False, True), "batch": (512, 1024, 2048), "mmap": (True, False)}
"""What is tried, the first to begin with; threads are tried too, all and half of them."""
QUICK = 3.0
"""Seconds of a try above which it is not repeated."""


class Llama:
    """A model in llama.cpp and, for each kind of work, the context with the best settings."""

    def __init__(self) -> None:
        llama_cpp.llama_backend_init()
        self.models: dict[bool, Any] = {}
        self.contexts: dict[str, Any] = {}
        self.chosen: dict[str, dict[str, Any]] = {}

    def versions(self) -> dict[str, str]:
        """What stands in the table."""
        return {"llama-cpp-python": version("llama-cpp-python")}

    def features(self) -> str:
        """What llama.cpp was compiled for."""
        return str(llama_cpp.llama_print_system_info().decode())

    def open(self, path: str, threads: int, context: int = 2048) -> None:
        """Remember a file; it is loaded when settings are tried."""
        self.path, self.threads, self.length = path, threads, context

    def model(self, mmap: bool) -> Any:
        """The model, mapped or read, loaded once each way."""
        if mmap not in self.models:
            settings = llama_cpp.llama_model_default_params()
            mapped, plain = llama_cpp.LLAMA_LOAD_MODE_MMAP, llama_cpp.LLAMA_LOAD_MODE_NONE
            settings.load_mode = mapped if mmap else plain
            self.models[mmap] = llama_cpp.llama_model_load_from_file(self.path.encode(), settings)
            if not self.models[mmap]:
                raise RuntimeError(f"llama.cpp cannot load {self.path}")
        return self.models[mmap]

    def context(self, setting: dict[str, Any], sequences: int = 1) -> Any:
        """A context with these settings."""
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = self.length
        params.n_batch = params.n_ubatch = setting["batch"]
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = setting["threads"]
        on, off = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        )
        params.flash_attn_type = on if setting["flash"] else off
        found = llama_cpp.llama_init_from_model(self.model(setting["mmap"]), params)
        if not found:
            raise RuntimeError(f"llama.cpp cannot make a context with {setting}")
        return found

    def tune(self, work: str, prompt: list[int], count: int = 0) -> dict[str, Any]:
        """Choose the settings for "prefill" or "decode", one after the other, by trying them."""
        tries = dict(SETTINGS)
        # A batch that holds the whole prompt already gains nothing by being larger.
        tries["batch"] = tuple(b for b in SETTINGS["batch"] if b < 2 * len(prompt)) or (512,)
        half = max(self.threads // 2, 1)
        tries["threads"] = (self.threads, half) if half < self.threads else (self.threads,)
        best = {name: values[0] for name, values in tries.items()}
        least = self.tried(best, work, prompt, count)
        for name, values in tries.items():
            for value in values[1:]:
                other = best | {name: value}
                taken = self.tried(other, work, prompt, count)
                if taken < least:
                    best, least = other, taken
        self.chosen[work] = best
        self.contexts[work] = self.context(best)
        return best

    def tried(self, setting: dict[str, Any], work: str, prompt: list[int], count: int) -> float:
        """Seconds of the best of a few tries with these settings."""
        context = self.context(setting)
        taken = []
        for _ in range(4):
            read, answered = self.run(context, prompt, count if work == "decode" else 0)
            taken.append(answered if work == "decode" else read)
            if read + answered > QUICK:
                break
        llama_cpp.llama_free(context)
        return min(taken)

    def prefill(self, prompt: list[int]) -> float:
        """Tokens per second of reading a prompt."""
        return len(prompt) / self.run(self.contexts["prefill"], prompt, 0)[0]

    def decode(self, prompt: list[int], count: int) -> float:
        """Tokens per second of so many more tokens after a prompt."""
        return count / self.run(self.contexts["decode"], prompt, count)[1]

    def run(self, context: Any, prompt: list[int], count: int) -> tuple[float, float]:
        """Seconds to read a prompt, and to continue it greedily by so many tokens."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        size = int(llama_cpp.llama_n_batch(context))
        start = time.perf_counter()
        for at in range(0, len(prompt), size):
            feed(context, prompt[at : at + size])
        token = likeliest(context)
        read = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(count):
            feed(context, [token])
            token = likeliest(context)
        return read, time.perf_counter() - start

    def greedy(self, path: str, prompt: list[int], count: int) -> list[int]:
        """The likeliest tokens one by one after a prompt, nothing remembered in half precision."""
        context = self.plain(path)
        tokens: list[int] = []
        feed(context, prompt)
        for _ in range(count):
            tokens.append(likeliest(context))
            feed(context, [tokens[-1]])
        llama_cpp.llama_free(context)
        return tokens

    def logits(self, path: str, prompt: list[int], save: str) -> None:
        """Save the logits after every token of a prompt."""
        context = self.plain(path)
        batch = llama_cpp.llama_batch_init(len(prompt), 0, 1)
        rows = [(token, at, 0) for at, token in enumerate(prompt)]
        step(context, batch, rows, list(range(len(prompt))))
        np.save(save, np.stack([logits_row(context, at) for at in range(len(prompt))]))
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)

    def plain(self, path: str) -> Any:
        """An empty context of a file's model with the plainest settings, on one thread."""
        if getattr(self, "path", None) != path:
            for model in self.models.values():
                llama_cpp.llama_model_free(model)
            self.models.clear()
            self.open(path, threads=1, context=512)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = self.length
        params.n_threads = params.n_threads_batch = 1
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        found = llama_cpp.llama_init_from_model(self.model(mmap=True), params)
        if not found:
            raise RuntimeError(f"llama.cpp cannot make a context of {path}")
        return found

    def together(self, prompts: list[list[int]], count: int) -> float:
        """Tokens per second of several sequences, with the settings of decoding."""
        context = self.context(self.chosen["decode"], len(prompts))
        total = sum(len(prompt) for prompt in prompts)
        batch = llama_cpp.llama_batch_init(total, 0, 1)
        rows = [(t, at, n) for n, prompt in enumerate(prompts) for at, t in enumerate(prompt)]
        last = [sum(len(p) for p in prompts[: n + 1]) - 1 for n in range(len(prompts))]
        tokens = step(context, batch, rows, last)
        start = time.perf_counter()
        for at in range(count):
            rows = [(t, len(prompts[n]) + at, n) for n, t in enumerate(tokens)]
            tokens = step(context, batch, rows, range(len(prompts)))
        taken = time.perf_counter() - start
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        return len(prompts) * count / taken


def feed(context: Any, tokens: list[int]) -> None:
    """One step of the only sequence; the positions are counted by llama.cpp."""
    array = (llama_cpp.llama_token * len(tokens))(*tokens)
    check(llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))))


def step(context: Any, batch: Any, rows: list[tuple[int, int, int]], wanted: Any) -> list[int]:
    """One step of (token, position, sequence) rows; the likeliest token after each wanted row."""
    batch.n_tokens = len(rows)
    for index, (token, position, sequence) in enumerate(rows):
        batch.token[index], batch.pos[index] = token, position
        batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
        batch.logits[index] = index in wanted
    check(llama_cpp.llama_decode(context, batch))
    return [likeliest(context, index) for index in wanted]


def check(code: int) -> None:
    """Raise where a step failed."""
    if code != 0:
        raise RuntimeError(f"llama_decode returned {code}")


def likeliest(context: Any, index: int = -1) -> int:
    """The token of the largest logit of a row."""
    return int(logits_row(context, index).argmax())


def logits_row(context: Any, index: int) -> Any:
    """The logits of a row, where llama.cpp has them."""
    vocabulary = llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(context))
    size = llama_cpp.llama_vocab_n_tokens(vocabulary)
    pointer = llama_cpp.llama_get_logits_ith(context, index)
    floats = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float))
    return np.ctypeslib.as_array(floats, (size,))


if __name__ == "__main__":
    serve(Llama())
