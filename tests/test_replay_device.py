"""Steps as a graph of a device would make them, which read no lengths on the host."""

import pytest
import torch

from draw import distance
from girih.kernels import pytorch, reference
from girih.kernels.calls import AppendCall, AttentionCall, Heads, Norm
from girih.state.block import PlainRoom


def device_calls(dtype, norm=None):
    """An append and its attention for one token of each of three sequences."""
    made = torch.Generator().manual_seed(9)
    heads = Heads(query=6, kept=2, width=8, rotary=3, query_norm=norm, key_norm=norm)
    keys, values = (torch.randn(5, 2, 12, 8, generator=made).to(dtype) for _ in "kv")
    spans = torch.tensor([[3, 0, 1], [0, 11, 1], [4, 5, 1]])
    for block in (keys, values):
        for row, start, _ in spans.tolist():
            block[row, :, start:] = torch.nan
    angles = torch.randn(3, 3, generator=made)
    room = PlainRoom(keys, values, None)
    seen = [[block[row, :, : n + 1] for row, n, _ in spans.tolist()] for block in (keys, values)]
    append = AppendCall(
        qkv_TO=torch.randn(3, 80, generator=made),
        heads=heads,
        rotation=(angles.cos(), angles.sin()),
        room=room,
        spans=spans,
        remember=lambda k, v: (k, v),
        seen=lambda: seen,
    )
    return append, room, spans


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_for_a_graph_equal_the_reference(dtype):
    """What a CUDA graph holds reads every length from a tensor; here without a graph."""
    norm = Norm(kind="rms", weight_I=torch.rand(8) + 0.5, eps=1e-5)
    append, room, spans = device_calls(dtype, norm)
    assert pytorch.refuses("append", append) is None
    q_THD, k_TKD, v_TKD = reference.turned(append)
    got, keys, values = pytorch.append(append)
    assert torch.equal(got, q_THD)
    for place, (row, start, _) in enumerate(spans.tolist()):
        assert torch.equal(room.keys[row, :, start], k_TKD[place].to(dtype))
        assert torch.equal(room.values[row, :, start], v_TKD[place].to(dtype))
    call = AttentionCall(q_THD=got, k_KND=keys, v_KND=values, counts=[1, 1, 1], scale=0.3)
    whole = pytorch.together(call, room, spans)
    assert distance(whole, reference.attention(call)) < (1e-5 if dtype == torch.float32 else 2e-2)


def test_appends_of_several_tokens_or_elsewhere_are_refused():
    append, _, _ = device_calls(torch.float32)
    append.spans = append.spans[:2]
    assert pytorch.refuses("append", append) == "it appends one token of each sequence"
    append.room = None
    assert pytorch.refuses("append", append) == "the state is not one block of memory"
