"""Single mixers against those of the reference library, and what they do in the engine."""

from dataclasses import replace

import pytest
import torch
from transformers.models.gpt_oss import modeling_gpt_oss as gpt_oss
from transformers.models.qwen3_next import modeling_qwen3_next as qwen3_next

from draw import distance, redraw
from girih.engine.explain import explained
from girih.kernels.calls import Rows
from girih.nn import build
from girih.nn.registry import Place
from girih.nn.rotary import rotation
from girih.plan import Plan
from girih.spec import Attention as Node
from girih.spec import RMSNorm, Rope, Sliding
from girih.state.step import step_of
from specs import SPECS

DIM, TOKENS, WINDOW = 40, 23, 6
SIZES = dict(
    hidden_size=DIM, num_attention_heads=6, num_key_value_heads=2, head_dim=8, attention_bias=True,
    num_hidden_layers=2, rms_norm_eps=3e-2, num_experts=2, num_local_experts=2,
    attn_implementation="eager",
)  # fmt: skip
NODE = Node(heads=6, kv_heads=2, head_dim=8, position=Rope(width=8, theta=100.0))
NEVER = torch.finfo(torch.float32).min


def theirs(library, name, **more):
    """A mixer of the reference library and its rotation, redrawn, with cosines and sines."""
    config = getattr(library, f"{name}Config")(**SIZES | more)
    mixer = getattr(library, f"{name}Attention")(config, 0).eval()
    redraw(mixer.named_parameters(), torch.Generator().manual_seed(3))
    rotary = getattr(library, f"{name}RotaryEmbedding")(config)
    return mixer, rotary(torch.zeros(1), torch.arange(TOKENS)[None])


def canonical(mixer):
    """Its weights under canonical names; queries and gates stand head by head in one matrix."""
    out = {name.replace("_proj", ""): value for name, value in mixer.state_dict().items()}
    if isinstance(mixer, qwen3_next.Qwen3NextAttention):
        for kind in ("weight", "bias"):
            parts = out[f"q.{kind}"].unflatten(0, (6, 2, 8))
            out[f"q.{kind}"], out[f"gate.{kind}"] = (parts[:, n].flatten(0, 1) for n in (0, 1))
    return out


def mixed(node, weights, x_TM):
    """What our mixer gives."""
    mixer = build.made(node, Place(dim=DIM, path="attn", plan=Plan(mode="exact")))
    mixer.load_state_dict(weights)
    count = len(x_TM)
    rotations = {node.position: rotation(node.position, torch.arange(count), (count,), (count,))}
    return mixer(Rows(x_TM, None), replace(step_of([[0] * count]), rotations=rotations))


BIASES = ("q", "k", "v", "o")
CASES = {
    "sinks": (gpt_oss, "GptOss", {}, dict(sinks=True, biases=BIASES, mask=Sliding(left=5))),
    "gate": (
        qwen3_next, "Qwen3Next", dict(partial_rotary_factor=0.5),
        dict(
            gated=True, biases=(*BIASES, "gate"), position=Rope(width=4, theta=100.0),
            head_norm=RMSNorm(eps=3e-2, offset=True),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mixer_is_that_of_the_reference_library(name):
    library, title, rope, fields = CASES[name]
    parameters = dict(rope_type="default", rope_theta=100.0) | rope
    mixer, turn = theirs(library, title, rope_parameters=parameters)
    node = replace(NODE, **fields)
    x_TM = torch.randn(TOKENS, DIM, generator=torch.Generator().manual_seed(4))
    seen = [[node.mask.sees(query, key) for key in range(TOKENS)] for query in range(TOKENS)]
    mask = torch.zeros(TOKENS, TOKENS).masked_fill(~torch.tensor(seen), NEVER)
    with torch.inference_mode():
        expected = mixer(x_TM[None], turn, mask[None, None])[0][0]
        weights = canonical(mixer)
        assert distance(mixed(node, weights, x_TM), expected) <= 1e-5
        for lost in {"sinks", "gate.weight", "gate.bias"} & weights.keys():
            wrong = weights | {lost: weights[lost] * 0}
            assert distance(mixed(node, wrong, x_TM), expected) >= 1e-2, lost


@pytest.mark.parametrize("name", ["latent", "shared-keys", "gated", "sinks", "values-of-keys"])
@pytest.mark.parametrize("plan", ["exact", "fast"])
def test_explain_tells_what_each_layer_attends_with(name, plan):
    rows = explained(build.build(SPECS[name], plan))
    told = {row["layers"] for row in rows if row["op"] == "attention" and row["part"] == "attn"}
    assert told == {row["layers"] for row in rows} - {"decoder"}
    if plan == "fast" and name == "sinks":
        (row,) = (row for row in rows if row["op"] == "attention")
        assert row["backend"] == "blocked"
        assert {"backend": "pytorch", "reason": "it has no sinks"} in row["refusals"]
