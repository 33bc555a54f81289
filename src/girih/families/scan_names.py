"""The names of scans in the Hugging Face layout, and of the MLPs that stand beside them."""

from collections.abc import Sequence

from girih.families.names import Names, Stored, both

SCAN = "decoder.layers.{}.scan"
NORMED = ("dt", "b", "c")


def convolved(theirs: str) -> Names:
    """The names of a short convolution."""
    return {
        f"{SCAN}.conv.weight": Stored(f"{theirs}.conv1d.weight", ones=(1,)),
        f"{SCAN}.conv.bias": f"{theirs}.conv1d.bias",
        f"{SCAN}.a_log": f"{theirs}.A_log",
        f"{SCAN}.skip": f"{theirs}.D",
        **both(f"{SCAN}.o", f"{theirs}.out_proj"),
    }


def joined(ours: Sequence[str], theirs: str) -> Names:
    """The names of products whose weights are stored as one, and their biases."""
    return {
        tuple(f"{SCAN}.{name}.{kind}" for name in ours): f"{theirs}.{kind}"
        for kind in ("weight", "bias")
    }


def dual_names(theirs: str) -> Names:
    """The names of Mamba-2 in the Hugging Face layout, whose module of a layer is called so."""
    return {
        **joined(("z", "x", "b", "c", "dt"), f"{theirs}.in_proj"),
        **convolved(theirs),
        f"{SCAN}.dt_bias": f"{theirs}.dt_bias",
        f"{SCAN}.norm.weight": f"{theirs}.norm.weight",
    }


def selective_names(theirs: str) -> Names:
    """The same of Mamba-1."""
    return {
        **joined(("x", "z"), f"{theirs}.in_proj"),
        **convolved(theirs),
        tuple(f"{SCAN}.{name}.weight" for name in ("dt_down", "b", "c")): f"{theirs}.x_proj.weight",
        **both(f"{SCAN}.dt_up", f"{theirs}.dt_proj"),
        **{f"{SCAN}.{name}_norm.weight": f"{theirs}.{name}_layernorm.weight" for name in NORMED},
    }


def ungated(ours: str, theirs: str) -> Names:
    """The names of an MLP without a gate."""
    return {
        **both(f"{ours}.up", f"{theirs}.up_proj"),
        **both(f"{ours}.down", f"{theirs}.down_proj"),
    }


def halves(ours: str, theirs: str) -> Names:
    """The names of an MLP of Granite's, whose gate and up are stored as one."""
    return {
        (f"{ours}.gate.weight", f"{ours}.up.weight"): f"{theirs}.input_linear.weight",
        f"{ours}.down.weight": f"{theirs}.output_linear.weight",
    }


def backbone(scans: Names) -> Names:
    """The names of a stack of scans and nothing else."""
    return {
        "decoder.embed.weight": "backbone.embeddings.weight",
        f"{SCAN}.pre.weight": "backbone.layers.{}.norm.weight",
        **scans,
        "decoder.norm.weight": "backbone.norm_f.weight",
        "decoder.head.weight": "lm_head.weight",
    }


BACKBONE = backbone(selective_names("backbone.layers.{}.mixer"))
"""Those of a stack of Mamba."""
