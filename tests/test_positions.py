"""Position encodings against the reference library and their formulas."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import tiny
from configs import LLAMA3, LONGROPE, YARN
from girih.families.config import Config
from girih.families.rotary import rope
from girih.nn.rotary import rotation
from test_chat import QUIET, SAID, reply, same

LONG = LONGROPE | dict(original_max_position_embeddings=40)
LONG |= {key: LONG[key] * 4 for key in ("short_factor", "long_factor")}
SCALINGS = {
    "linear": dict(rope_type="linear", factor=3.0),
    "llama3": LLAMA3,
    "yarn": YARN,
    "proportional": dict(rope_type="proportional", partial_rotary_factor=0.25),
    "proportional of odd share": dict(rope_type="proportional", partial_rotary_factor=0.3),
    "partial linear": dict(rope_type="linear", factor=2.0, partial_rotary_factor=0.5),
    "dynamic": dict(rope_type="dynamic", factor=3.0),
    "partial dynamic": dict(rope_type="dynamic", factor=2.0, partial_rotary_factor=0.5),
    "longrope": LONG,
    "longrope of a factor": LONG | dict(factor=7.0),
    "longrope of a temperature": LONG | dict(attention_factor=1.7),
}


@pytest.mark.parametrize("horizon", [31, 40, 41, 128, 129, 1001])
@pytest.mark.parametrize("name", SCALINGS)
def test_rotations_are_those_of_the_reference_library(name, horizon):
    settings = SCALINGS[name] | dict(rope_theta=500.0)
    sizes = dict(hidden_size=96, num_attention_heads=3, head_dim=32, max_position_embeddings=128)
    config = LlamaConfig(**sizes, rope_parameters=dict(settings))
    make = ROPE_INIT_FUNCTIONS[settings["rope_type"]]
    frequencies, factor = make(config, seq_len=horizon)
    ours = rope(Config(sizes | dict(rope_parameters=settings)), 32)
    places = torch.tensor([0, 1, 7, 30, 39, 100, 1000])
    angles = places[:, None] * frequencies
    mine = rotation(ours, places, [7], [horizon])
    for one, other in zip(mine, (angles.cos(), angles.sin()), strict=True):
        assert one.shape == other.shape and torch.allclose(one, other * factor, atol=2e-4)


def test_each_sequence_is_rotated_by_its_own_horizon():
    ours = rope(Config(dict(max_position_embeddings=16, rope_scaling=SCALINGS["dynamic"])), 8)
    places = torch.tensor([0, 3, 1, 2, 30])
    both = rotation(ours, places, [2, 3], [9, 31])
    for whole, one, other in zip(
        both,
        rotation(ours, places[:2], [2], [9]),
        rotation(ours, places[2:], [3], [31]),
        strict=True,
    ):
        assert torch.equal(whole, torch.cat([one, other]))
    assert not torch.allclose(both[0], rotation(ours, places, [2, 3], [31, 9])[0])


@pytest.mark.parametrize("plan", ["exact", "fast"])
@pytest.mark.parametrize("name", ["dynamic-rope", "longrope"])
def test_what_a_neighbour_will_come_to_changes_nothing(name, plan):
    model = tiny.drawn(name, plan=plan)
    prompts = [tiny.randoms(5), tiny.randoms(40, 1), tiny.randoms(3, 2)]
    together = model.generate(prompts, max_tokens=11)
    for prompt, one in zip(prompts, together, strict=True):
        assert model.generate([prompt], max_tokens=11)[0].tokens == one.tokens
    short, long = (model.generate([prompts[0]], max_tokens=n)[0].tokens for n in (11, 60))
    assert short != long[:11], "the length that a text may come to counts"


def test_a_chat_is_read_again_where_its_rotation_changes():
    """Longrope up to 64 tokens, then beyond: two rotations in all."""
    words = tiny.letters()
    model = tiny.drawn("longrope-short", words=words, quiet=QUIET, context=4000)
    chat, cached = model.chat(), []
    for _ in range(4):
        result = reply(chat, SAID[:8], max_tokens=6)
        assert same(model, chat, result, max_tokens=6)
        cached.append(result.cached_tokens)
    assert [kept > 0 for kept in cached] == [False, True, True, False]
    assert reply(chat, SAID[:8], max_tokens=6).cached_tokens > 64
