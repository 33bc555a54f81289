"""The text of tokens, each on its own, as it can be shown."""

from typing import Any

from girih.checkpoints.tokenizer import Tokenizer
from girih.checkpoints.tokenizer_parts import byte_characters


class Pieces:
    """What each token of a vocabulary looks like; asked for once each."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        self.tokenizer = tokenizer
        self.known: dict[int, str] = {}

    def text(self, token: int) -> str:
        """The text of a token; its bytes where they are no whole character."""
        if token not in self.known:
            self.known[token] = self.found(token)
        return self.known[token]

    def found(self, token: int) -> str:
        """The text of a token, looked up."""
        if self.tokenizer is None or token >= self.tokenizer.vocab_size:
            return f"⟨{token}⟩"
        text = self.tokenizer.decode([token], skip_special=False, continues=True)
        if text and "\ufffd" not in text:
            return text
        raw = self.tokenizer.token(token)
        held = [BYTES.get(letter) for letter in raw]
        if raw and None not in held:
            return "⟨" + " ".join(f"{byte:02X}" for byte in held) + "⟩"
        return raw or f"⟨{token}⟩"

    def of(self, tokens: list[int]) -> list[dict[str, Any]]:
        """Tokens with their texts."""
        return [{"id": token, "text": self.text(token)} for token in tokens]


BYTES = byte_characters()
"""The byte that each character of a byte-level vocabulary stands for."""
