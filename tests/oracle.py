"""Tiny models of the reference library: built, redrawn, saved, and asked for logits."""

import torch
import transformers

from draw import redraw

PROMPTS = [[5, 17, 3, 88, 41, 9, 60, 11, 23, 71, 4, 33, 19, 52, 8, 90, 27, 66, 14, 70, 38], [7]]
TOLERANCE = 1e-4


def reference_model(row, seed=0):
    """The reference library's model of a row, every parameter and buffer redrawn."""
    torch.manual_seed(seed)
    config = transformers.AutoConfig.for_model(row.model_type, **row.config)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
    generator = torch.Generator().manual_seed(seed + 1)
    kept = model.state_dict()
    saved = [(name, value) for name, value in model.named_buffers() if name in kept]
    redraw([*model.named_parameters(), *saved], generator)
    if row.redraw:
        row.redraw(model)
    model.tie_weights()
    return model


@torch.inference_mode()
def reference_logits(model, prompts=PROMPTS):
    """The logits of each prompt on its own."""
    return [model(torch.tensor([ids])).logits[0].float() for ids in prompts]


@torch.inference_mode()
def reference_greedy(model, ids, count):
    """Greedy tokens, and the gap between the two best logits at each of them.

    Each is of a text as long as it is at last, since some positions depend on the length; no token
    sees those after it.
    """
    ids, gaps, end = list(ids), [], len(ids) + count
    for _ in range(count):
        padded = ids + [0] * (end - len(ids))
        logits = model(torch.tensor([padded])).logits[0, len(ids) - 1].float()
        best = logits.topk(2).values
        gaps.append(float((best[0] - best[1]) / logits.abs().max()))
        ids.append(int(logits.argmax()))
    return ids[-count:], gaps
