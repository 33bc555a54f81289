"""transformers as an engine of the benchmark: eager PyTorch on the dequantised file."""

import os
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.protocol import extra_memory, serve

CHUNK = 512
"""Prompt tokens at a time where a long one is remembered."""


class Transformers:
    """A causal language model of transformers, in one dtype."""

    def versions(self) -> dict[str, str]:
        """What stands in the table."""
        return {"transformers": transformers.__version__}

    def open(self, path: str, threads: int, dtype: str) -> None:
        """Load a GGUF file."""
        torch.set_num_threads(threads)
        file = Path(path)
        kind: Any = transformers.AutoModelForCausalLM
        found = kind.from_pretrained(file.parent, gguf_file=file.name, dtype=getattr(torch, dtype))
        self.model = found.eval()

    def shape(
        self,
        path: str,
        threads: int,
        kind: str,
        config: dict[str, Any],
        dtype: str = "bfloat16",
        **settings: Any,
    ) -> None:
        """A model of a config, with random weights; saved in bfloat16 where it is not yet.

        It is loaded in a dtype and with settings that choose among transformers' own ways.
        """
        torch.set_num_threads(threads)
        if not Path(path).exists():
            torch.manual_seed(0)
            made = transformers.AutoConfig.for_model(kind, **config)
            model = transformers.AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16)
            model.save_pretrained(f"{path}.unfinished")
            Path(f"{path}.unfinished").rename(path)
        kinds: Any = transformers.AutoModelForCausalLM
        found = kinds.from_pretrained(path, dtype=getattr(torch, dtype), **settings)
        self.model = found.eval()

    @torch.inference_mode()
    def remember(self, prompt: list[int]) -> None:
        """Read a prompt, after which `decode_remembered` goes on again and again."""
        self.cache = transformers.DynamicCache(config=self.model.config)
        for start in range(0, len(prompt), CHUNK):
            ids = torch.tensor([prompt[start : start + CHUNK]])
            self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1)

    @torch.inference_mode()
    def decode_remembered(self, count: int) -> float:
        """Tokens per second of so many tokens after what is remembered."""
        ids = torch.tensor([[1]])
        start = time.perf_counter()
        for turn in range(count + 1):
            if turn == 1:
                start = time.perf_counter()
            out = self.model(input_ids=ids, past_key_values=self.cache, logits_to_keep=1)
            ids = out.logits[:, -1:].argmax(-1)
        taken = time.perf_counter() - start
        self.cache.crop(-(count + 1))
        return count / taken

    @torch.inference_mode()
    def prefill(self, prompt: list[int]) -> float:
        """Tokens per second of reading a prompt, with a cache and the last token's logits."""
        ids = torch.tensor([prompt])
        start = time.perf_counter()
        self.model(input_ids=ids, use_cache=True, logits_to_keep=1).logits.argmax(-1)
        return len(prompt) / (time.perf_counter() - start)

    @torch.inference_mode()
    def decode(self, prompt: list[int], count: int) -> float:
        """Tokens per second of so many more tokens after a prompt."""
        out = self.model(input_ids=torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        kept = "cache_params" if "cache_params" in out else "past_key_values"
        start = time.perf_counter()
        for turn in range(count + 1):
            if turn == 1:
                start = time.perf_counter()
            ids = out.logits[:, -1:].argmax(-1)
            out = self.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{kept: out[kept]})
        return count / (time.perf_counter() - start)

    def extra(self, prompt: list[int]) -> int:
        """Bytes at the peak over what was held before, of reading a prompt."""
        return extra_memory(lambda: self.prefill(prompt))


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    serve(Transformers())
