"""What branches give is multiplied, wherever they stand: as if it were in their last weights."""

import pytest
import torch

from draw import distance
from girih.nn.build import build
from girih.spec import Branch, Layer, Model, Parallel, SpecError, draw
from girih.state.step import step_of
from mutants import on
from specs import GATED, GQA, NORM, decoder, replace


def built(*branches):
    stack = replace(decoder().stacks[0], layers=(Layer(branches=branches),) * 2)
    return Model(stacks=(stack,))


def beside(*parts, **more):
    return Branch(name="block", mixer=Parallel(parts=parts), **more)


ATTN, MLP = Branch(name="attn", mixer=GQA), Branch(name="mlp", mixer=GATED)
ROWS = {
    "alone": built(replace(ATTN, pre=NORM, scale=0.6), replace(MLP, pre=NORM)),
    "behind a norm": built(replace(ATTN, pre=NORM, post=NORM, scale=0.6)),
    "a part": built(beside(replace(ATTN, scale=0.6), MLP, pre=NORM)),
    "a part behind a norm": built(beside(MLP, replace(ATTN, post=NORM, scale=0.6), pre=NORM)),
    "around parts": built(beside(ATTN, MLP, pre=NORM, scale=0.6)),
    "around a part": built(beside(replace(ATTN, scale=2.0), MLP, pre=NORM, scale=0.3)),
}


@pytest.mark.parametrize("name", ROWS)
def test_it_is_as_if_the_last_weights_were_multiplied(name):
    spec = ROWS[name]
    scaled, plain = build(spec), build(on(Branch, scale=None)(spec))
    for path, module in scaled.named_modules():
        factor = getattr(module, "scale", None)
        parts = [] if not isinstance(factor, float) else [(path, plain.get_submodule(path))]
        for _, branch in parts:
            ends = [branch.post.weight] if branch.post is not None else [
                value for key, value in branch.named_parameters()
                if key.endswith(("o.weight", "down.weight"))
            ]  # fmt: skip
            with torch.no_grad():
                for value in ends:
                    value.mul_(factor)
    step = step_of([[5, 3, 8, 1], [7, 2]])
    with torch.inference_mode():
        before = build(on(Branch, scale=None)(spec))(step)
        assert distance(scaled(step), plain(step)) < 1e-5 < distance(scaled(step), before)


def test_it_is_drawn_and_checked():
    for name, spec in ROWS.items():
        assert "x 0.6" in "\n".join(draw(spec)), name
    with pytest.raises(SpecError, match=r"scale 0\.0 is not above zero"):
        Branch(name="mlp", mixer=GATED, scale=0.0)
