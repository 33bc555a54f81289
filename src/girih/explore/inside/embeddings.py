"""The tokens whose embeddings point the same way. V vocabulary, M model."""

from typing import Any

import torch
from torch.nn.functional import normalize

from girih.engine.model import Model
from girih.explore.pieces import Pieces

ROWS = 1 << 22
"""Numbers of the table that are widened at a time."""


@torch.no_grad()
def nearest(model: Model, token: int | str, n: int = 10) -> dict[str, Any]:
    """The `n` tokens nearest to one, by the cosine of their rows in the table of embeddings.

    `token` is an id, or a text, of which the first token is taken; `pieces` says how many it has.
    `tied` is whether the same table makes the logits. Raises ValueError for a token that is not in
    the vocabulary, and for a text without a tokenizer.
    """
    stack = model.spec.stacks[-1]
    ids = model.prompter.tokens(token if isinstance(token, str) else [token])
    if type(n) is not int or n < 1:
        raise ValueError(f"n {n!r} is not a number of tokens from 1 on")
    table = model.module.get_submodule(f"{stack.name}.embed")
    own_M = table.rows(torch.tensor(ids[:1], device=model.device), torch.float32)
    own_M, vocab, parts = normalize(own_M, dim=1), stack.input.vocab, []
    size = max(1, ROWS // stack.dim)
    for start in range(0, vocab, size):
        index = torch.arange(start, min(start + size, vocab), device=model.device)
        rows_VM = table.rows(index, torch.float32)
        parts.append((normalize(rows_VM, dim=1) @ own_M.T)[:, 0].cpu())
    cosines_V = torch.cat(parts)
    cosines_V[ids[0]] = -torch.inf
    pieces = Pieces(model.tokenizer)
    values, places = cosines_V.topk(min(n, vocab - 1))
    return {
        "id": ids[0],
        "text": pieces.text(ids[0]),
        "pieces": len(ids),
        "token": ids[0],
        "nearest": [
            {"id": place, "text": pieces.text(place), "cosine": value}
            for place, value in zip(places.tolist(), values.tolist(), strict=True)
        ],
        "tied": stack.head is not None and stack.head.tied,
    }
