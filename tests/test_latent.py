"""Latent attention whose keys are made of the latents for many queries: the same as absorbed."""

import pytest
import torch

from draw import distance, redraw
from girih.nn import latent
from girih.nn.build import build
from girih.plan import Plan
from girih.state.capture import Capture
from girih.state.step import step_of
from girih.state.storage import State
from specs import SPECS
from test_state import fed, tokens

NAMES = ["latent", "latent-low-rank-queries"]
LENGTH = 71


@pytest.fixture(params=NAMES)
def pair(request, monkeypatch):
    """The module by the reference, and fast in float32, with how many heads it expands at once."""
    monkeypatch.setattr(latent, "EXPANDED", 15 * LENGTH * 2)
    made = []
    for plan in ("exact", Plan(mode="fast", dtype="float32")):
        module = build(SPECS[request.param], plan)
        redraw(module.named_parameters(), torch.Generator().manual_seed(1))
        made.append(module)
    heads = []
    usual = latent.LatentAttention.expanded

    def expanded(self, q_THD, keys, step):
        heads.append(q_THD.shape[1])
        return usual(self, q_THD, keys, step)

    monkeypatch.setattr(latent.LatentAttention, "expanded", expanded)
    return *made, heads


def test_expanded_is_absorbed(pair):
    exact, fast, heads = pair
    ids = tokens(LENGTH)
    with torch.inference_mode():
        whole = exact(step_of([ids]))
        assert distance(fast(step_of([ids])), whole) <= 1e-5 and heads == [3, 3]
        state = State(SPECS["latent"].state(), sequences=1, capacity=LENGTH)
        assert distance(fed(fast, state, ids, (30, 1, 3, 37)), whole) <= 1e-5
        assert heads == [3] * 6, "chunks of 30 and 37 are expanded, fewer tokens are not"
        both = fast(step_of([ids, tokens(33, 5)]))
        assert distance(both[:LENGTH], whole) <= 1e-5 and len(heads) == 8


def test_gradients_are_those_of_the_reference(pair):
    ids, found = tokens(LENGTH), []
    for module in pair[:2]:
        module(step_of([ids])).square().mean().backward()
        found.append({name: p.grad for name, p in module.named_parameters()})
    assert pair[2] == [3, 3]
    for name, gradient in found[0].items():
        assert distance(found[1][name], gradient) <= 1e-4, name


def test_maps_are_captured_without_expanding(pair):
    _, fast, heads = pair
    chosen = Capture({"attention"}, 1 << 24)
    fast(step_of([tokens(LENGTH)], capture=chosen))
    assert not heads and all(v[0].shape == (3, LENGTH, LENGTH) for v in chosen.taken.values())
