"""transformers as an engine of the benchmark: eager PyTorch on the dequantised file."""

import os
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.protocol import serve


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

    @torch.inference_mode()
    def prefill(self, prompt: list[int]) -> float:
        """Tokens per second of reading a prompt, with a cache and the last token's logits."""
        ids = torch.tensor([prompt])
        start = time.perf_counter()
        self.model(input_ids=ids, use_cache=True, logits_to_keep=1).logits.argmax(-1)
        return len(prompt) / (time.perf_counter() - start)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    serve(Transformers())
