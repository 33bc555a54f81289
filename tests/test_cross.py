"""Attention to a source: by its definition, as the reference library has it, in every feeding."""

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.bart.modeling_bart import BartAttention
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.whisper.modeling_whisper import WhisperAttention

from draw import distance, redraw
from girih.kernels.calls import Rows
from girih.nn import build
from girih.nn.registry import Place
from girih.plan import Plan
from girih.spec import CrossAttention, RMSNorm, Work, cost
from girih.state.capture import Capture
from girih.state.step import Source, step_of
from girih.state.storage import State
from specs import SOURCE, SOURCED
from test_state import LENGTH, SAME, redrawn, tokens

DIM, T, S = 36, 7, 11
GIVEN = 9


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mixed(node, weights, x_TM, source_SM, counts=None, dtype=torch.float32):
    """What our mixer gives."""
    mixer = build.made(node, Place(dim=DIM, path="cross", plan=Plan(mode="exact")))
    mixer.load_state_dict(weights)
    source = Source(features=source_SM, counts=counts or (len(source_SM),))
    share = len(x_TM) // len(source.counts)
    step = step_of([[0] * share] * len(source.counts), source=source)
    return mixer.to(dtype)(Rows(x_TM, None, dtype), step)


def theirs(name):
    """A cross attention of the reference library, and whether it scales its scores."""
    if name == "t5":
        config = transformers.T5Config(d_model=DIM, d_kv=6, num_heads=6, is_decoder=True)
        return T5Attention(config, layer_idx=0), 1.0
    kind = BartAttention if name == "bart" else WhisperAttention
    config = transformers.BartConfig(attn_implementation="eager")
    return kind(DIM, 6, is_decoder=True, layer_idx=0, config=config), None


@pytest.mark.parametrize("name", ["t5", "bart", "whisper"])
def test_it_is_that_of_the_reference_library(name):
    other, scale = theirs(name)
    redraw(other.eval().named_parameters(), torch.Generator().manual_seed(3))
    weights = {
        key.replace("out_proj", "o").replace("_proj", ""): value
        for key, value in other.state_dict().items()
    }
    biases = tuple(n for n in ("q", "k", "v", "o") if f"{n}.bias" in weights)
    assert len(biases) == {"t5": 0, "bart": 4, "whisper": 3}[name]
    node = CrossAttention(heads=6, kv_heads=6, head_dim=6, source=DIM, biases=biases, scale=scale)
    x_TM, source_SM = drawn(T, DIM, seed=1), drawn(S, DIM, seed=2)
    with torch.inference_mode():
        expected = other(x_TM[None], key_value_states=source_SM[None])[0][0]
        assert distance(mixed(node, weights, x_TM, source_SM), expected) <= 1e-5
        for wrong in (dict(scale=0.5), dict(scale=2.0)):
            moved = CrossAttention(
                heads=6, kv_heads=6, head_dim=6, source=DIM, biases=biases, **wrong
            )
            assert distance(mixed(moved, weights, x_TM, source_SM), expected) >= 1e-2


def by_definition(node, weights, x_TM, source_SM):
    """One query and one head at a time, in float64."""
    w = {name: value.double() for name, value in weights.items()}
    out_TM = torch.zeros(len(x_TM), DIM, dtype=torch.float64)

    def head(name, row, index):
        wide = slice(index * node.head_dim, (index + 1) * node.head_dim)
        made = w[f"{name}.weight"][wide] @ row + w[f"{name}.bias"][wide]
        if name == "v":
            return made
        size = (made.square().mean() + node.head_norm.eps).sqrt()
        return made / size * w[f"{name}_norm.weight"]

    for place, x_M in enumerate(x_TM.double()):
        parts = []
        for index in range(node.heads):
            kept = index // (node.heads // node.kv_heads)
            keys = torch.stack([head("k", row, kept) for row in source_SM.double()])
            values = torch.stack([head("v", row, kept) for row in source_SM.double()])
            weights_S = (keys @ head("q", x_M, index) * node.scale).softmax(0)
            parts.append(weights_S @ values)
        out_TM[place] = w["o.weight"] @ torch.cat(parts) + w["o.bias"]
    return out_TM


def test_it_is_its_definition_with_fewer_key_heads_and_norms():
    node = CrossAttention(
        heads=6, kv_heads=2, head_dim=5, source=13, biases=("q", "k", "v", "o"),
        head_norm=RMSNorm(eps=1e-2), scale=0.8,
    )  # fmt: skip
    mixer = build.made(node, Place(dim=DIM, path="cross", plan=Plan(mode="exact")))
    redraw(mixer.named_parameters(), torch.Generator().manual_seed(5))
    weights, x_TM = mixer.state_dict(), drawn(2 * T, DIM, seed=1)
    first, second = drawn(3, 13, seed=2), drawn(S, 13, seed=3)
    packed = mixed(node, weights, x_TM, torch.cat([first, second]), (3, S))
    for part, source_SM in ((slice(0, T), first), (slice(T, 2 * T), second)):
        expected = by_definition(node, weights, x_TM[part], source_SM)
        assert distance(packed[part].detach(), expected) <= 1e-6


@pytest.fixture(params=SOURCED)
def case(request):
    spec = SOURCED[request.param]
    module, ids = redrawn(spec), tokens(LENGTH)
    source = Source(features=drawn(GIVEN, SOURCE), counts=(GIVEN,))
    with torch.inference_mode():
        yield spec, module, ids, source, module(step_of([ids], source=source))


def poisoned(spec, sequences):
    """A state whose memory is NaN until it is written."""
    state = State(
        spec.state(), sequences=sequences, capacity=LENGTH, sources=GIVEN + 3, dtype=torch.float32
    )
    for block in state.blocks.values():
        block.fill_(torch.nan)
    return state


def feed(module, state, parts, rows, source=None):
    step = step_of(parts, state=state, rows=rows, source=source)
    logits = module(step)
    state.advance(step)
    return logits.split([len(part) for part in parts])


@pytest.mark.parametrize("sizes", [(37,), (1,), (5, 1, 7, 11), (36, 1)], ids=str)
def test_chunks_equal_the_whole(case, sizes):
    """The source is given with the first chunk and never again."""
    spec, module, ids, source, whole = case
    state, out, start, sizes = poisoned(spec, 1), [], 0, list(sizes)
    while start < len(ids):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        given = source if start == 0 else None
        out += feed(module, state, [ids[start : start + size]], [0], given)
        start += size
    assert distance(torch.cat(out), whole) <= SAME


def test_packing_with_strangers_and_rewinding_change_nothing(case):
    spec, module, ids, source, whole = case
    other = drawn(4, SOURCE, seed=7)
    both = Source(features=torch.cat([other, source.features]), counts=(4, GIVEN))
    pure = module(step_of([tokens(5, 1), ids], source=both))
    assert distance(pure[5:], whole) <= SAME
    state = poisoned(spec, 3)
    feed(module, state, [tokens(5, 1)], [2], Source(features=other, counts=(4,)))
    mixture = Source(features=source.features, counts=(0, GIVEN))
    first = feed(module, state, [tokens(3, 2), ids[:13]], [2, 0], mixture)[1]
    mark = state.mark(0)
    feed(module, state, [tokens(4, 3)], [0])
    state.rewind(mark)
    state.fork(0, 1)
    second = feed(module, state, [ids[13:20], tokens(1, 4)], [1, 2])[0]
    third = feed(module, state, [ids[20:]], [1])[0]
    assert distance(torch.cat([first, second, third]), whole) <= SAME


def test_every_entry_is_seen_and_shown(case):
    _, module, ids, source, whole = case
    for place in (0, GIVEN - 1):
        moved = source.features.clone()
        moved[place] += 1
        step = step_of([ids], source=Source(features=moved, counts=(GIVEN,)))
        assert (module(step) - whole).abs().amax(-1).min() > 1e-4, "by every token"
    capture = Capture("attention")
    module(step_of([ids], source=source, capture=capture))
    (shown,) = capture.taken["decoder.layers.0.cross"]
    assert shown.shape == (6, LENGTH, GIVEN) and torch.allclose(shown.sum(-1), torch.ones(()))


def test_a_sequence_without_a_source_is_refused(case):
    spec, module, ids, source, _ = case
    words = r"decoder\.layers\.0\.cross: a sequence was given no source"
    with pytest.raises(ValueError, match=words):
        module(step_of([ids]))
    state = poisoned(spec, 2)
    feed(module, state, [ids[:3]], [0], source)
    with pytest.raises(ValueError, match=words):
        module(step_of([ids[3:4], ids[:2]], state=state, rows=[0, 1]))
    with pytest.raises(ValueError, match="sequence 0 has a source already"):
        module(step_of([ids[3:4]], state=state, rows=[0], source=source))


def test_bytes_and_products_are_predicted(case):
    spec, module, ids, source, _ = case
    state = State(spec.state(), sequences=3, capacity=17, sources=5, dtype=torch.bfloat16)
    assert state.bytes == cost(spec, context=17, batch=3, sources=5).state_bytes
    state = poisoned(spec, 1)
    works = [
        (ids[:11], source, Work(tokens=11, context=11, source=GIVEN, given=GIVEN, dense=True)),
        (ids[11:12], None, Work(tokens=1, context=12, source=GIVEN)),
    ]
    for part, given, work in works:
        step = step_of([part], state=state, source=given, logits="last")
        with FlopCounterMode(display=False) as counter:
            module(step)
        state.advance(step)
        assert counter.get_total_flops() == spec.flops(work).total
    told = cost(spec, context=11, sources=GIVEN)
    assert told.decode == spec.flops(Work(tokens=1, context=11, source=GIVEN))
    assert told.prefill_dense == spec.flops(works[0][2])
