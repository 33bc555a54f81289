"""From what a user asks to the tokens of a prompt."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from girih.checkpoints.template import ChatTemplate
from girih.checkpoints.tokenizer import Tokenizer

Message = Mapping[str, Any]
Prompt = str | Sequence[Message] | Sequence[int]
"""A text to be completed, a conversation (through the chat template), or token ids."""


class Prompter:
    """Turns prompts into tokens with the model's tokenizer and chat template."""

    def __init__(self, tokenizer: Tokenizer | None, vocab: int, context: int | None) -> None:
        self.tokenizer, self.vocab, self.context = tokenizer, vocab, context
        text = tokenizer.chat_template if tokenizer else None
        tokens = tokenizer.template_tokens if tokenizer else {}
        self.template = ChatTemplate(text, tokens) if text else None

    def tokens(self, prompt: Prompt) -> list[int]:
        """The tokens of a prompt; raises ValueError in one line for one that cannot be run."""
        if isinstance(prompt, str):
            found = self.needed().encode(prompt)
        else:
            items = listed(prompt)
            found = self.chat(list(map(dict, items))) if conversation(items) else self.ids(items)
        if not found:
            raise ValueError("the prompt is empty: give at least one token of text")
        if self.context is not None and len(found) > self.context:
            raise ValueError(
                f"the prompt has {len(found):,} tokens; the model's context is {self.context:,}; "
                "shorten it"
            )
        return found

    def chat(self, messages: list[dict[str, Any]]) -> list[int]:
        """A conversation through the chat template, ready for the model's reply."""
        tokenizer = self.needed()
        if self.template is None:
            raise ValueError("the model has no chat template: give the prompt as a plain text")
        for index, message in enumerate(messages):
            if not isinstance(message.get("role"), str):
                raise ValueError(f"message {index} has no role")
        text = self.template.render(messages, add_generation_prompt=True)
        return tokenizer.encode_chat(text)

    def needed(self) -> Tokenizer:
        """The tokenizer; raises ValueError where the model has none."""
        if self.tokenizer is None:
            raise ValueError(
                "the model has no tokenizer (no tokenizer.json beside its weights), "
                "so texts cannot be read; in Python, give prompts as token ids"
            )
        return self.tokenizer

    def ids(self, prompt: list[Any]) -> list[int]:
        """Token ids, each checked to be in the vocabulary."""
        found = []
        for item in prompt:
            try:
                token = operator.index(item)
            except TypeError:
                raise refusal(item) from None
            if isinstance(item, bool):
                raise refusal(item)
            if not 0 <= token < self.vocab:
                raise ValueError(
                    f"the token id {token} is outside the vocabulary of {self.vocab:,}"
                )
            found.append(token)
        return found


def conversation(prompt: Any) -> bool:
    """Whether a prompt is a list of messages."""
    if isinstance(prompt, str) or not isinstance(prompt, Sequence):
        return False
    return bool(prompt) and all(isinstance(item, Mapping) for item in prompt)


def listed(prompt: Any) -> list[Any]:
    """The items of a prompt or of several, arrays too; raises ValueError for what has none."""
    if hasattr(prompt, "tolist"):
        prompt = prompt.tolist()
    if isinstance(prompt, (str, bytes, bytearray, Mapping)) or not isinstance(prompt, Iterable):
        raise refusal(prompt)
    return list(prompt)


def refusal(value: object) -> ValueError:
    """The error for what is no prompt or no part of one."""
    return ValueError(f"a prompt is a text, messages or token ids, not {shown(value)}")


def shown(value: object) -> str:
    """A value on one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
