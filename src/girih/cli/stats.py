"""How fast an answer came and how much memory the process took, in words and for programs."""

import resource
import sys
from pathlib import Path
from typing import Any

from girih.cli.console import bytes_text


def stats_line(result: Any, first_s: float) -> str:
    """One line about a generation whose first text came after `first_s` seconds."""
    times = result.times
    cached = f" ({result.cached_tokens:,} cached)" if result.cached_tokens else ""
    ahead = f" | {guesses(result)}" if result.proposed_tokens else ""
    return (
        f"prompt {result.prompt_tokens:,} tokens{cached}, {times.prefill_tps:,.1f} tokens/s"
        f" | answer {len(result.tokens):,} tokens, {times.decode_tps:,.1f} tokens/s"
        f"{ahead}"
        f" | first token after {first_s:.2f} s"
        f" | peak memory {memory_words()}"
    )


def guesses(result: Any) -> str:
    """How many of the tokens guessed ahead were right, and what that saved."""
    share = result.accepted_tokens / result.proposed_tokens
    return (
        f"{result.accepted_tokens:,} of {result.proposed_tokens:,} guesses right ({share:.0%}), "
        f"{result.tokens_per_step:.2f} tokens a step"
    )


def memory_words() -> str:
    """The most memory the process held so far, mapped weights included."""
    device = device_peak()
    return bytes_text(peak_memory()) + (f" + {bytes_text(device)} on the GPU" if device else "")


def stats_json(result: Any, first_s: float) -> dict[str, Any]:
    """A generation for programs; times in seconds, memory in bytes."""
    times = result.times
    return {
        "text": result.text,
        "tokens": list(result.tokens),
        "finish_reason": result.finish_reason,
        "prompt_tokens": result.prompt_tokens,
        "cached_tokens": result.cached_tokens,
        "generated_tokens": len(result.tokens),
        "proposed_tokens": result.proposed_tokens,
        "accepted_tokens": result.accepted_tokens,
        "tokens_per_step": result.tokens_per_step,
        "times": {
            "prefill_s": times.prefill_s,
            "decode_s": times.decode_s,
            "first_token_s": first_s,
            "prefill_tokens_per_s": times.prefill_tps,
            "decode_tokens_per_s": times.decode_tps,
        },
        "peak_memory_bytes": peak_memory(),
        "peak_device_memory_bytes": device_peak(),
    }


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes."""
    # getrusage counts what the parent held before exec, so a small child of a big shell lies.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def device_peak() -> int:
    """The most GPU memory that tensors of this process held so far, in bytes; 0 without a GPU."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return int(torch.cuda.max_memory_allocated()) if torch is not None and used else 0
