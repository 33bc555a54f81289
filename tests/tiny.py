"""Tiny models with tokenizers: drawn at random, or saying what they are told."""

from dataclasses import replace

import torch
from torch import nn

from draw import redraw
from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.tokenizer_parts import byte_characters
from girih.engine.model import Model
from girih.nn.build import build
from girih.plan import Plan
from specs import PURE, SPECS, VOCAB

SPECIAL = ("<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
END = 1
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,!"
CHARACTERS = {byte: char for char, byte in byte_characters().items()}


def tokenizer(pieces, template=TEMPLATE):
    """A byte-level tokenizer without merges: the special tokens, then these pieces (bytes)."""
    words = ["".join(CHARACTERS[byte] for byte in piece) for piece in pieces]
    fields = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": [*SPECIAL, *words],
        "token_type": [3] * len(SPECIAL) + [1] * len(words),
        "merges": [],
        "eos_token_id": END,
        "add_bos_token": False,
    }
    metadata = {f"tokenizer.ggml.{name}": value for name, value in fields.items()}
    if template is not None:
        metadata["tokenizer.chat_template"] = template
    return Tokenizer.from_gguf(metadata)


def letters(template=TEMPLATE):
    """A tokenizer of one token a letter: whatever it decodes, it encodes as it was."""
    found = tokenizer([letter.encode() for letter in LETTERS], template)
    assert found.vocab_size == VOCAB
    return found


def spec_of(name="gqa", **changes):
    """A spec of the list with another context or vocabulary."""
    spec = (SPECS | PURE)[name]
    stack = spec.stacks[0]
    if "vocab" in changes:
        stack = replace(stack, input=replace(stack.input, vocab=changes.pop("vocab")))
    return replace(spec, stacks=(replace(stack, **changes),))


def drawn(name="gqa", words=None, plan="exact", quiet=(), **changes):
    """A model of random weights; the `quiet` tokens are never the likeliest."""
    module = build(spec_of(name, **changes), plan)
    redraw(module.named_parameters(), torch.Generator().manual_seed(1))
    with torch.no_grad():
        for token in quiet:
            module.decoder.head.weight[token] = 0.0
    return Model(module.eval(), words)


def randoms(count, seed=0):
    """Random token ids."""
    made = torch.Generator().manual_seed(seed)
    return torch.randint(len(SPECIAL), VOCAB, (count,), generator=made).tolist()


def greedy(model, ids, count):
    """The likeliest tokens one by one, each from the logits of the whole sequence."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(model.logits([ids])[0][-1].argmax()))
    return tuple(ids[-count:])


class Counted:
    """The tokens that go through a model's module."""

    def __init__(self, model):
        self.fed = []
        model.module.register_forward_pre_hook(self.count)

    def count(self, module, arguments):
        self.fed.append(arguments[0].tokens.numel())

    def taken(self):
        """How many since the last call."""
        total, self.fed = sum(self.fed), []
        return total


class Scripted(nn.Module):
    """A module that says one script after a prompt of one token, then the end token for ever."""

    def __init__(self, script, vocab):
        super().__init__()
        self.spec = spec_of(vocab=vocab, context=1000)
        self.plan = Plan(mode="exact")
        self.script = [*script, END]
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, step):
        places = step.positions if step.rows is None else step.positions[step.rows]
        logits = torch.zeros(len(places), self.spec.stacks[0].input.vocab)
        for row, place in enumerate(places.tolist()):
            logits[row, self.script[min(place, len(self.script) - 1)]] = 30.0
        return logits


def scripted(script, words):
    """A model that says these tokens."""
    return Model(Scripted(script, words.vocab_size), words)
