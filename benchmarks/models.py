"""The models of the benchmark: published shapes with random weights, as GGUF files.

Runs in the peers' environment: `python benchmarks/models.py FOLDER [NAME ...]` makes what is
missing there, tensor by tensor, so that memory stays below two of the largest tensors.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
from gguf import GGMLQuantizationType as Type

PIECE = 2**24
"""Values drawn and packed at once."""


silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
llama_cpp.llama_log_set(silent, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A published decoder without its weights; heads of `head_dim` values, tied head."""

    architecture: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocab: int
    rope_theta: float
    norm_epsilon: float
    head_norm: bool = False
    context: int = 8192
    quantized: str = ""
    """The file that llama.cpp turns into Q4_K_M, where this one is not written in Q8_0."""

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every tensor, in the order of the file."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        yield "token_embd.weight", (self.vocab, self.width)
        for layer in range(self.layers):
            parts = {
                "attn_norm": (self.width,),
                "attn_q": (queries, self.width),
                "attn_k": (keys, self.width),
                "attn_v": (keys, self.width),
                "attn_output": (self.width, queries),
                "ffn_norm": (self.width,),
                "ffn_gate": (self.hidden, self.width),
                "ffn_up": (self.hidden, self.width),
                "ffn_down": (self.width, self.hidden),
            }
            if self.head_norm:
                parts |= {"attn_q_norm": (self.head_dim,), "attn_k_norm": (self.head_dim,)}
            yield from ((f"blk.{layer}.{name}.weight", shape) for name, shape in parts.items())
        yield "output_norm.weight", (self.width,)


LLAMA = Shape(
    architecture="llama",
    width=2048,
    layers=16,
    heads=32,
    kv_heads=8,
    head_dim=64,
    hidden=8192,
    vocab=128_256,
    rope_theta=500_000.0,
    norm_epsilon=1e-5,
)
QWEN = Shape(
    architecture="qwen3",
    width=1024,
    layers=28,
    heads=16,
    kv_heads=8,
    head_dim=128,
    hidden=3072,
    vocab=151_936,
    rope_theta=1_000_000.0,
    norm_epsilon=1e-6,
    head_norm=True,
)
SHAPES = {
    "llama1b-q8_0": LLAMA,
    "llama1b-q4_k_m": replace(LLAMA, quantized="llama1b-q8_0"),
    "qwen3-0.6b-q8_0": QWEN,
}
"""File name without its ending -> shape; a file that another is made of stands before it."""


def make(folder: Path, name: str) -> None:
    """Write one file whole or not at all."""
    path = folder / f"{name}.gguf"
    if path.exists():
        return
    shape, unfinished = SHAPES[name], path.with_suffix(".unfinished")
    if shape.quantized:
        make(folder, shape.quantized)
        print(f"models: packing {path.name} (minutes)", flush=True)
        quantize(folder / f"{shape.quantized}.gguf", unfinished)
    else:
        write(unfinished, shape, path.name)
    unfinished.rename(path)


def write(path: Path, shape: Shape, name: str) -> None:
    """A file of random matrices in Q8_0 and norms of ones."""
    writer = gguf.GGUFWriter(path, shape.architecture)
    describe(writer, shape)
    vocabulary(writer, shape.vocab)
    tensors = list(shape.tensors())
    for tensor, lengths in tensors:
        if len(lengths) == 1:
            writer.add_tensor_info(tensor, lengths, np.dtype(np.float32), 4 * lengths[0])
        else:
            row = gguf.quant_shape_to_byte_shape(lengths, Type.Q8_0)
            count = int(np.prod(row))
            writer.add_tensor_info(tensor, row, np.dtype(np.uint8), count, Type.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for done, (_, lengths) in enumerate(tensors):
        if done % 50 == 0:
            print(f"models: writing {name}, tensor {done} of {len(tensors)}", flush=True)
        writer.write_tensor_data(values(random, lengths))
    writer.close()


def values(random: np.random.Generator, lengths: tuple[int, ...]) -> np.ndarray:
    """The content of a tensor: ones, or blocks of normal values that keep the scale of a row."""
    if len(lengths) == 1:
        return np.ones(lengths, np.float32)
    rows, columns = lengths
    scale = np.float32(columns**-0.5)
    out = np.empty(gguf.quant_shape_to_byte_shape(lengths, Type.Q8_0), np.uint8)
    step = PIECE // columns
    for at in range(0, rows, step):
        drawn = random.standard_normal((min(step, rows - at), columns), np.float32)
        drawn *= scale
        out[at : at + step] = gguf.quants.quantize(drawn, Type.Q8_0)
    return out


def describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """The keys that say what the model is."""
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    """Byte-level tokens with one merge and made-up words: what any reader of the format takes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [
        chr(256 + n) for n in range(256 - len(printable))
    ]
    tokens = [*letters, "ab", "<|endoftext|>"]
    tokens += [f"word{number}" for number in range(size - len(tokens))]
    end = tokens.index("<|endoftext|>")
    kinds = [gguf.TokenType.NORMAL] * size
    kinds[end] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)


def quantize(source: Path, target: Path) -> None:
    """Pack a Q8_0 file again as Q4_K_M, by llama.cpp's own choice of a type for each tensor."""
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    settings.allow_requantize = True
    code = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), settings)
    if code != 0:
        raise SystemExit(f"models: llama.cpp could not pack {source.name}")


def main() -> None:
    """Make the files that are named, or all."""
    folder, names = Path(sys.argv[1]), sys.argv[2:] or list(SHAPES)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        make(folder, name)


if __name__ == "__main__":
    main()
