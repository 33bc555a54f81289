"""GGUF files of a tiny llama written by hand, so that every field can be wrong."""

import struct

import numpy as np

KINDS = {"float32": 0, "Q8_0": 8}
META = {
    "general.architecture": "llama",
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 64,
    "llama.block_count": 1,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.context_length": 128,
    "llama.rope.freq_base": 500.0,
    "llama.rope.dimension_count": 32,
}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def field(value):
    """A metadata value with its type: whole numbers are 64 bits wide, fractions 32."""
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<Iq", 11, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    items = [field(item) for item in value]
    kind = items[0][:4] if items else struct.pack("<I", 4)
    return struct.pack("<I", 9) + kind + struct.pack("<Q", len(items)) + b"".join(
        item[4:] for item in items
    )  # fmt: skip


def q8(rows, width, seed):
    """Rows of Q8_0 blocks: a float16 scale and 32 signed bytes each."""
    made = np.random.default_rng(seed)
    blocks = np.zeros((rows, width // 32), dtype=[("scale", "<f2"), ("values", "i1", 32)])
    blocks["scale"] = 0.002
    blocks["values"] = made.integers(-127, 128, (rows, width // 32, 32))
    return blocks


def tensors():
    """The tensors of one layer by name: matrices packed, norms plain."""
    shapes = {
        "token_embd": (128, 64), "output": (128, 64), "blk.0.attn_q": (64, 64),
        "blk.0.attn_k": (32, 64), "blk.0.attn_v": (32, 64), "blk.0.attn_output": (64, 64),
        "blk.0.ffn_gate": (64, 64), "blk.0.ffn_up": (64, 64), "blk.0.ffn_down": (64, 64),
    }  # fmt: skip
    out = {f"{name}.weight": q8(*shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    norms = ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")
    return out | {f"{name}.weight": np.ones(64, dtype=np.float32) for name in norms}


def write(path, metadata=META, values=None):
    """A GGUF file; dimensions are those of the arrays, the shortest stride first."""
    values = tensors() if values is None else values
    head, data = [], b""
    for name, value in values.items():
        packed = value.dtype.names is not None
        shape = (*value.shape[:-1], 32 * value.shape[-1]) if packed else value.shape
        kind = KINDS["Q8_0" if packed else "float32"]
        dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head.append(text(name) + dims + struct.pack("<IQ", kind, len(data)))
        data += value.tobytes()
        data += bytes(-len(data) % 32)
    keys = b"".join(text(key) + field(value) for key, value in metadata.items())
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(values), len(metadata)) + keys + b"".join(head)
    path.write_bytes(raw + bytes(-len(raw) % 32) + data)
    return path
