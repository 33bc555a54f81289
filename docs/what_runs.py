"""The table of what runs, made from the families, their parity tests and the storage formats.

`python docs/what_runs.py` prints it; `make table` puts it into README.md.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from girih.families import known, spec_from_config
from girih.families.gguf_writing import WRITTEN
from girih.kernels.blocks import BLOCKS
from girih.plan import DTYPES
from girih.spec import (
    FORMATS,
    MLP,
    Attention,
    LatentAttention,
    LayerNorm,
    Model,
    Parallel,
    Rope,
    SharedKeys,
    Sliding,
)

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests"))

from families import ROWS  # noqa: E402  (a list of the tests, found by the line above)

PLACE = re.compile(r"(<!-- what runs[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
"""Where the table stands in README.md."""


def table() -> str:
    """Families by source with tested features, then storage formats by source, in Markdown."""
    lines = [
        "| `model_type` | Hugging Face folder | GGUF file | girih folder | tested with |",
        "|---|---|---|---|---|",
    ]
    for name in known():
        specs = [spec(row) for row in ROWS.values() if row.model_type == name]
        assert specs, f"tests/families.py has no row for {name}"
        cells = (f"`{name}`", "yes", in_gguf(name), "yes", features(specs))
        lines.append(f"| {' | '.join(cells)} |")
    plain, packed = [form(name) for name in DTYPES], [form(name) for name in BLOCKS]
    lines += [
        "",
        "| source | storage formats, with bits per weight |",
        "|---|---|",
        f"| Hugging Face folder (safetensors, one file or shards) | {', '.join(plain)} |",
        f"| GGUF file, girih folder | {', '.join(plain + packed)} |",
    ]
    return "\n".join(lines) + "\n"


def spec(row) -> Model:
    """The spec of a row of the parity tests."""
    return spec_from_config({"model_type": row.model_type, **row.config})


def in_gguf(name: str) -> str:
    """Whether GGUF files of a family are read and written, and under which architecture."""
    found = WRITTEN.get(name)
    return "no" if found is None else "yes" if found == name else f"as `{found}`"


def features(specs: Iterable[Model]) -> str:
    """What these specs have, each thing once, from attention to head."""
    found = dict.fromkeys(fact for one in specs for fact in facts(one))
    return ", ".join(text for _, text in sorted(found, key=lambda fact: fact[0]))


def facts(one: Model) -> Iterator[tuple[int, str]]:
    """What a spec is made of: a place in the sentence, and words."""
    stack = one.stacks[0]
    if any(isinstance(b.mixer, Parallel) for b in stack.layers[0].branches):
        yield 6, "attention and MLP in parallel"
    if any(branch.post for _, branch in stack.leaves()):
        yield 6, "norms behind the mixers"
    for mixer in (branch.mixer for _, branch in stack.leaves()):
        if isinstance(mixer, Attention):
            yield from attention_facts(mixer)
        elif isinstance(mixer, LatentAttention):
            yield 0, "latent attention, absorbed"
            yield 1, "queries of low rank" if mixer.q_rank else "queries of full rank"
        elif isinstance(mixer, MLP):
            yield 4, f"{'gated' if mixer.gated else 'plain'} MLP ({mixer.activation})"
            if mixer.biased:
                yield 5, "MLP biases"
    if stack.input.position is not None:
        yield 1, stack.input.position.what
    if stack.input.of_layers is not None:
        yield 6, "inputs of layers"
    yield 6, "layer norm" if isinstance(stack.norm, LayerNorm) else "RMS norm"
    yield 7, "tied head" if stack.head is not None and stack.head.tied else "own head"


def attention_facts(mixer: Attention) -> Iterator[tuple[int, str]]:
    """What attention is made of: a place in the sentence, and words."""
    if isinstance(mixer.mask, Sliding):
        yield 1, "sliding window"
    if mixer.softcap is not None:
        yield 3, "capped scores"
    yield 0, "MHA" if mixer.kv_heads == mixer.heads else "MQA" if mixer.kv_heads == 1 else "GQA"
    if mixer.position is not None and not isinstance(mixer.position, Rope):
        yield 2, mixer.position.what
    elif mixer.position is not None:
        part = "part of each head " if mixer.position.width < mixer.head_dim else ""
        pairs = " in neighbouring pairs" if mixer.position.pairs == "interleaved" else ""
        yield 2, f"{part}rotary{pairs}"
        if mixer.position.scaling is not None:
            yield 2, mixer.position.scaling.what
    if mixer.head_norm is not None:
        yield 3, "q/k norm"
    if isinstance(mixer.keys, SharedKeys):
        yield 3, "keys of an earlier layer"
    else:
        yield from ((3, "values of the keys' product"),) if mixer.keys.joined else ()
        yield from ((3, "v norm"),) if mixer.keys.value_norm else ()
    if mixer.biases:
        yield 3, f"{'/'.join(mixer.biases)} biases"


def form(name: str) -> str:
    """A storage format and the bits of one weight, scales included."""
    return f"{name} ({FORMATS[name].bits_per_value:.4g})"


def main() -> None:
    """Print the table, or with --write put it into README.md."""
    if "--write" not in sys.argv:
        print(table(), end="")
        return
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    readme.write_text(PLACE.sub(lambda found: found[1] + table() + found[2], text), "utf-8")


if __name__ == "__main__":
    main()
