"""Published and recomputed figures as the page says them, each with a formula that gives it."""

import pytest

from girih.explore.describe import spec_info
from girih.explore.price import price
from girih.families import spec_from_config
from girih.spec import Attention, Branch, Layer, Model, Stack, Tokens
from published import PUBLISHED
from test_golden import DEEPSEEK_V3_DENSE, LLAMA_3_8B, QWEN3_06B
from test_routed import PUBLISHED as MIXTURES

MIB, GIB = 2**20, 2**30
GEMMA = spec_from_config(PUBLISHED["gemma-3-1b-it"][0])
OSS = spec_from_config(MIXTURES["gpt-oss-20b"][0])
V3 = spec_from_config(DEEPSEEK_V3_DENSE)


@pytest.mark.parametrize(
    ("spec", "tokens", "name", "value"),
    [
        (LLAMA_3_8B, 8192, "parameters", 8_030_261_248),
        (LLAMA_3_8B, 8192, "state_bytes_per_token", 131_072),
        (LLAMA_3_8B, 8192, "state_bytes", GIB),
        (QWEN3_06B, 4096, "state_bytes_per_token", 114_688),
        (V3, 4096, "state_bytes_per_token", 70_272),
        (GEMMA, 32_768, "state_bytes", 139 * MIB),
        (GEMMA, 32_768, "state_bytes_per_token", 4 * 2 * 256 * 2),  # the four global layers
        (OSS, 131_072, "state_bytes", 3 * GIB + 3 * MIB),
    ],
)
def test_the_page_says_the_known_figures(spec, tokens, name, value):
    assert spec_info(spec, context=tokens)["cost"][name]["value"] == value


def test_windows_and_latents_are_told_layer_by_layer():
    gemma = spec_info(GEMMA, context=32_768)["stacks"][0]["layers"]
    windows = [layer["branches"][0] for layer in gemma if layer["branches"][0]["kind"] == "window"]
    assert len(windows) == 22 and {one["window"] for one in windows} == {512}
    assert {one["state"]["value"] for one in windows} == {512 * 2 * 256 * 2}
    latent = spec_info(V3)["stacks"][0]["layers"][0]["branches"][0]
    expanded = latent["heads"] * (latent["head_dim"] + latent["value_dim"])
    assert 61 * 2 * expanded == 4_997_120
    assert latent["latent"] == dict(kv_rank=512, rope_dim=64, q_rank=1536)


@pytest.mark.parametrize(("kv_heads", "mib"), [(32, 3200), (8, 800), (1, 100)])
def test_the_classic_comparison_by_one_edited_field(kv_heads, mib):
    mixer = Attention(heads=32, kv_heads=32, head_dim=128)
    layer = Layer(branches=(Branch(name="attn", mixer=mixer),))
    stack = Stack(name="decoder", dim=64, input=Tokens(vocab=2), layers=(layer,) * 32)
    path = "$.stacks[0].layers[*].branches[attn].mixer.kv_heads"
    edits = [{"path": path, "value": kv_heads}]
    found = price(Model(stacks=(stack,)), edits, context=6400, state="float16")
    assert found["cost"]["state_bytes"]["value"] == mib * MIB
    assert found["cost"]["state_bytes"]["inputs"]["kv_heads"] == kv_heads
