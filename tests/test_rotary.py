"""Rotary encodings against the reference library, and the lengths that they depend on."""

import pytest
import torch
from transformers import LlamaConfig, Phi3Config, Qwen2VLTextConfig, Qwen3VLTextConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen2_vl import modeling_qwen2_vl
from transformers.models.qwen3_vl import modeling_qwen3_vl

import tiny
from configs import LLAMA3, LONGROPE, SIZE, YARN
from girih.families import spec_from_config
from girih.families.config import Config
from girih.families.rotary import rope
from girih.kernels import reference
from girih.nn.rotary import rotation
from girih.spec import Causal, Rope, Sections, Sliding, SpecError
from girih.state.step import step_of
from girih.state.storage import State
from specs import SPECS
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


def test_a_horizon_is_stated_or_that_of_the_capacity():
    state = State(SPECS["gqa"].state(), sequences=3, capacity=20)
    assert [state.horizon(row) for row in range(3)] == [20, 20, 20]
    state.expect(1, 9)
    state.advance(step_of([[1, 2]], state=state))
    state.fork(1, 2)
    grown = state.grown(50)
    assert [grown.horizon(row) for row in range(3)] == [20, 9, 9], "one has begun"
    for row in range(3):
        grown.evict(row)
    assert [grown.horizon(row) for row in range(3)] == [50, 50, 50]


VISION = {
    "chunked": (modeling_qwen2_vl, "Qwen2VLRotaryEmbedding", Qwen2VLTextConfig),
    "interleaved": (modeling_qwen3_vl, "Qwen3VLTextRotaryEmbedding", Qwen3VLTextConfig),
}
SECTIONS = [
    ("chunked", (16, 24, 24)),
    ("chunked", (2, 1, 3)),
    ("interleaved", (24, 20, 20)),
    ("interleaved", (3, 1, 2)),
]


@pytest.mark.parametrize(("order", "pairs"), SECTIONS)
def test_several_axes_turn_as_in_the_reference_library(order, pairs):
    library, name, config = VISION[order]
    made, width = torch.Generator().manual_seed(5), 2 * sum(pairs)
    settings = dict(rope_type="default", rope_theta=500.0, mrope_section=list(pairs))
    sizes = dict(hidden_size=3 * width, num_attention_heads=3, num_key_value_heads=3)
    theirs = getattr(library, name)(config(**sizes, head_dim=width, rope_parameters=settings))
    places = torch.randint(200, (11, 3), generator=made)
    q, k = torch.randn(2, 11, 3, width, generator=made)
    turned = library.apply_rotary_pos_emb(
        *(x.transpose(0, 1)[None] for x in (q, k)), *theirs(q, places.T[:, None])
    )
    ours = Rope(width=width, theta=500.0, sections=Sections(pairs=pairs, order=order))
    rotations = rotation(ours, places, [11], [11])
    for mine, other in zip((q, k), turned, strict=True):
        got = reference.rotate(mine, *rotations)
        assert torch.allclose(got, other[0].transpose(0, 1), atol=1e-4)
    plain, equal = rotation(ours, places[:, 1], [11], [11]), places[:, 1:2].expand(-1, 3)
    assert all(map(torch.equal, plain, rotation(ours, equal, [11], [11]))), "text has one place"


@pytest.mark.parametrize("name", ["sections", "interleaved-sections"])
def test_given_positions_are_kept_from_step_to_step(name):
    model, ids = tiny.drawn(name), tiny.randoms(15)
    places = torch.randint(40, (15, 3), generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        whole = model.module(step_of([ids], positions=[places]))
        state, parts = model.state(1, 15), []
        for start, end in ((0, 6), (6, 7), (7, 15)):
            step = step_of([ids[start:end]], state=state, positions=[places[start:end]])
            parts.append(model.module(step))
            state.advance(step)
        assert torch.allclose(torch.cat(parts), whole, atol=1e-4)
        counted = torch.arange(15)[:, None].expand(-1, 3)
        same_places = model.module(step_of([ids], positions=[counted]))
        assert torch.allclose(same_places, model.module(step_of([ids])), atol=1e-5)
        assert not torch.allclose(whole, same_places, atol=1e-2)


@pytest.mark.parametrize("name", ["gqa", "learned", "sinusoid"])
def test_positions_that_do_not_fit_are_refused(name):
    model = tiny.drawn(name)
    with pytest.raises(ValueError, match=r"positions of 3 axes, rotary sections of 1|of several"):
        model.module(step_of([[1, 2]], positions=[torch.zeros(2, 3)]))
    with pytest.raises(ValueError, match=r"^3, 1 positions for 2, 1 tokens$"):
        step_of([[1, 2], [3]], positions=[torch.zeros(3), torch.zeros(1)])


MAIN = dict(max_position_embeddings=128)
BAD = {
    "spiral": (dict(rope_type="spiral"), "rope_parameters: the rope type spiral is not supported"),
    "no factor": (dict(rope_type="dynamic"), "rope_parameters: the key factor is missing"),
    "huge": (dict(rope_type="dynamic", factor=1e9), "factor 1000000000.0 is above 1,000,000"),
    "no long": (dict(rope_type="longrope", short_factor=[1.0]), "the key long_factor is missing"),
    "short list": (
        LONG | dict(short_factor=[1.0] * 15), "15 short factors for 16 pairs of features",
    ),
    "long list": (LONG | dict(long_factor=[1.0] * 17), "17 long factors for 16 pairs"),
    "word": (LONG | dict(long_factor="ab"), "long: 'ab' is not a list"),
    "zero": (LONG | dict(long_factor=[0.0] * 16), "long: 0.0 is not above zero"),
    "share": (dict(rope_type="proportional", partial_rotary_factor=1.5), "24 turning pairs of 16"),
    "less than none": (
        dict(rope_type="proportional", partial_rotary_factor=-1), "pairs -16 is below zero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_rope_settings_that_are_none_are_refused(name):
    settings, says = BAD[name]
    with pytest.raises(SpecError, match=says):
        rope(Config(MAIN | dict(rope_parameters=settings)), 32)


def test_dynamic_scaling_starts_from_the_context_of_the_config():
    settings = dict(rope_scaling=dict(rope_type="dynamic", factor=2.0))
    with pytest.raises(SpecError, match="dynamic scaling needs max_position_embeddings"):
        rope(Config(settings), 32)
    with pytest.raises(SpecError, match="one pair of features alone"):
        rope(Config(MAIN | settings), 2)


def test_a_window_as_long_as_the_context_hides_what_dynamic_scaling_reaches():
    settings = SIZE | dict(model_type="mistral", sliding_window=128)
    assert spec_from_config(settings).stacks[0].layers[0].branches[0].mixer.mask == Causal()
    settings["rope_scaling"] = dict(rope_type="dynamic", factor=2.0)
    stack = spec_from_config(settings).stacks[0]
    assert stack.context == 256
    assert stack.layers[0].branches[0].mixer.mask == Sliding(left=127)


def test_the_context_of_training_is_that_of_the_config_before_that_of_the_scaling():
    """As in the reference library, whose Phi-3 wrote longrope as "su" at first."""
    settings = LONGROPE | dict(original_max_position_embeddings=99)
    sizes = dict(hidden_size=32, num_attention_heads=4, max_position_embeddings=128)
    theirs = Phi3Config(
        **sizes, original_max_position_embeddings=40, rope_scaling=settings | dict(type="su")
    )
    assert theirs.rope_parameters["original_max_position_embeddings"] == 40
    del settings["rope_type"]
    written = dict(original_max_position_embeddings=40, rope_scaling=settings | dict(type="su"))
    ours = rope(Config(sizes | written), 8)
    assert ours.scaling.original_context == 40
    del written["original_max_position_embeddings"]
    assert rope(Config(sizes | written), 8).scaling.original_context == 99
    _, factor = ROPE_INIT_FUNCTIONS["longrope"](theirs)
    assert ours.scaling.temperature == pytest.approx(factor)
