"""Position encodings against the reference library and their formulas."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from configs import LLAMA3, YARN
from girih.families.config import Config
from girih.families.rotary import rope
from girih.nn.rotary import rotation

SCALINGS = {
    "linear": dict(rope_type="linear", factor=3.0),
    "llama3": LLAMA3,
    "yarn": YARN,
    "proportional": dict(rope_type="proportional", partial_rotary_factor=0.25),
    "proportional of odd share": dict(rope_type="proportional", partial_rotary_factor=0.3),
    "partial linear": dict(rope_type="linear", factor=2.0, partial_rotary_factor=0.5),
}


@pytest.mark.parametrize("name", SCALINGS)
def test_rotations_are_those_of_the_reference_library(name):
    settings = SCALINGS[name] | dict(rope_theta=500.0)
    sizes = dict(hidden_size=96, num_attention_heads=3, head_dim=32, max_position_embeddings=128)
    config = LlamaConfig(**sizes, rope_parameters=dict(settings))
    frequencies, factor = ROPE_INIT_FUNCTIONS[settings["rope_type"]](config)
    ours = rope(Config(sizes | dict(rope_parameters=settings)), 32)
    places = torch.tensor([0, 1, 7, 100, 1000])
    angles = places[:, None] * frequencies
    for mine, theirs in zip(rotation(ours, places), (angles.cos(), angles.sin()), strict=True):
        assert mine.shape == theirs.shape and torch.allclose(mine, theirs * factor, atol=1e-4)
