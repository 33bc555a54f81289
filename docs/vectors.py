"""What the page computes itself, as the engine computes it: ui/vectors.json, which both tests read.

`python docs/vectors.py` writes it. The page's own numbers (ui/src/numbers) are held to these by
ui/tests/vectors.test.ts, and these to the engine by tests/test_explore_vectors.py.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from girih.explore.describe import mask_info, spec_info
from girih.explore.inside.masks import seen
from girih.kernels import reference
from girih.nn.rotary import rotation
from girih.spec import (
    Attention,
    Causal,
    Chunked,
    DynamicScaling,
    FrequencyFactors,
    Full,
    GroupedAttention,
    LinearScaling,
    Llama3Scaling,
    LongScaling,
    Prefix,
    ProportionalScaling,
    Rope,
    Sliding,
    YarnScaling,
)
from girih.spec.base import Work
from girih.spec.codec import encoded
from girih.spec.compose import compose
from girih.spec.cost import state_bytes

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "ui" / "vectors.json"
sys.path.append(str(ROOT / "tests"))

from specs import SOURCE, SOURCED, SPECS  # noqa: E402  (a list of the tests, found by the line above)

MASKS = (
    Causal(),
    Full(),
    *(Sliding(left=left, right=right) for left, right in ((3, 0), (0, 0), (2, 2), (30, 0))),
    *(Chunked(size=size) for size in (1, 4, 5)),
    *(Prefix(length=length) for length in (1, 6, 40)),
)
SIZES = ((4,), (2,), (2, 3, 2), (5, 3), (40,))
LENGTHS = (1, 7, 16, 23)
ROPES = (
    Rope(width=8, theta=100.0),
    Rope(width=64, theta=10_000.0),
    Rope(width=8, theta=100.0, pairs="interleaved"),
    Rope(width=8, theta=100.0, scaling=LinearScaling(factor=3.0)),
    Rope(width=16, theta=1e4, scaling=DynamicScaling(factor=2.0, original_context=32)),
    Rope(
        width=32,
        theta=5e5,
        scaling=Llama3Scaling(
            factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_context=512
        ),
    ),
    *(
        Rope(
            width=32,
            theta=1e4,
            scaling=YarnScaling(factor=4.0, original_context=256, temperature=1.2, whole=whole),
        )
        for whole in (True, False)
    ),
    Rope(width=8, theta=100.0, scaling=FrequencyFactors(factors=(1.0, 2.0, 4.0, 8.0))),
    Rope(width=16, theta=1e4, scaling=ProportionalScaling(pairs=3, factor=2.0)),
    Rope(
        width=8,
        theta=1e4,
        scaling=LongScaling(
            short=(1.0, 1.1, 1.2, 1.3), long=(2.0, 3.0, 4.0, 5.0), original_context=64
        ),
    ),
)
HORIZONS = (20, 100)
STATES = (
    *("gqa", "mqa", "window", "window-of-one", "alternating", "chunked", "latent"),
    *("grouped", "grouped-levels", "shared-keys", "values-of-keys", "experts", "delta"),
    *("hybrid-windowed", "mamba", "mamba2", "state-space"),
)
TOKENS = (1, 5, 23, 90, 2000)
FORMATS = ("float32", "bfloat16", "float16", "int8", "int4")
SHOWN = ("kind", "latent", "mask", "heads", "kv_heads", "head_dim", "value_dim", "window")


def masks() -> list[dict[str, Any]]:
    """Masks, and which keys each token sees: its rows, as texts of 0 and 1.

    Where windows are grouped their representatives stand behind the tokens.
    """
    one = Attention(heads=1, kv_heads=1, head_dim=2)
    mixers: list[Any] = [replace(one, mask=mask) for mask in MASKS]
    for sizes in SIZES:
        for mask in (Causal(), Full()):
            mixers.append(GroupedAttention(heads=1, kv_heads=1, head_dim=2, sizes=sizes, mask=mask))
    out = []
    for mixer in mixers:
        for tokens in LENGTHS:
            rows = [
                "".join("01"[cell] for cell in row)
                for row in seen(mixer, tokens, range(tokens)).tolist()
            ]
            counted = pairs(mixer, tokens)
            assert counted == sum(row.count("1") for row in rows), (mixer, tokens)
            out.append({"mask": mask_info(mixer), "tokens": tokens, "rows": rows, "pairs": counted})
    return out


def pairs(mixer: Any, tokens: int) -> int:
    """The pairs that the spec counts."""
    if isinstance(mixer, GroupedAttention):
        return mixer.visible(Work(tokens=tokens, context=tokens))[0]
    return int(mixer.mask.visible(tokens, tokens))


def ropes() -> list[dict[str, Any]]:
    """Rotary encodings: the angle of each pair, and a vector turned to a position."""
    out = []
    for rope in ROPES:
        vector = torch.linspace(-1, 2, rope.width + 3, dtype=torch.float64)
        turn = reference.rotate_neighbours if rope.pairs == "interleaved" else reference.rotate
        for horizon in HORIZONS:
            at = torch.tensor([1])
            cos, sin = rotation(rope, at, [1], [horizon])
            angles = torch.atan2(sin.double(), cos.double())[0]
            place = torch.tensor([17])
            turned = turn(
                vector[None, None], *(one.double() for one in rotation(rope, place, [1], [horizon]))
            )
            out.append(
                {
                    "width": rope.width,
                    "theta": rope.theta,
                    "pairs": "interleaved" if rope.pairs == "interleaved" else "halves",
                    "scaling": None if rope.scaling is None else encoded(rope.scaling),
                    "horizon": horizon,
                    "inverse": rounded(angles),
                    "vector": rounded(vector),
                    "position": 17,
                    "turned": rounded(turned[0, 0]),
                }
            )
    return out


def rounded(values: torch.Tensor) -> list[float]:
    """Numbers as far as single precision goes."""
    return [float(f"{value:.7g}") for value in values.tolist()]


def states() -> list[dict[str, Any]]:
    """Specs, as much of them as says what is remembered, and the bytes that sequences leave."""
    out = []
    specs = {name: (SPECS[name], 0) for name in STATES} | {"cross": (SOURCED["cross"], SOURCE)}
    specs["wide"] = (compose(width=320, layers=2, mixer="attention,latent(100)", heads=2), 0)
    for name, (spec, sources) in specs.items():
        stacks = [
            {
                "layers": [
                    {"branches": [short(one) for one in layer["branches"]]}
                    for layer in stack["layers"]
                ]
            }
            for stack in spec_info(spec, context=32)["stacks"]
        ]
        bytes_ = {
            form: [state_bytes(spec, tokens, form, sources) for tokens in TOKENS]
            for form in FORMATS
        }
        out.append(
            {"name": name, "stacks": stacks, "sources": sources, "tokens": TOKENS, "bytes": bytes_}
        )
    return out


def short(branch: dict[str, Any]) -> dict[str, Any]:
    """A branch, as much of it as says what is remembered."""
    numbers = {name: {"value": branch[name]["value"]} for name in ("per_token", "fixed")}
    return {name: branch[name] for name in SHOWN} | numbers


def vectors() -> dict[str, Any]:
    """All of it."""
    return {"masks": masks(), "ropes": ropes(), "states": states()}


def text() -> str:
    """The file: a vector a line."""
    parts = []
    for name, rows in vectors().items():
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        parts.append(f'"{name}": [\n{lines}\n]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
