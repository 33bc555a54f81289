"""A conversation with a model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from girih.engine.memory import Memory
from girih.engine.result import Piece
from girih.engine.sample import Sampling
from girih.engine.stream import Stream

if TYPE_CHECKING:
    from girih.engine.model import Model


class Chat:
    """Messages so far, and the state they left, so that a turn costs only its new tokens.

    A reply is kept in `messages` as far as it was generated when its stream ends or is closed; a
    turn whose prompt cannot be run leaves the conversation as it was.
    """

    def __init__(self, model: "Model", memory: Memory, system: str | None = None) -> None:
        self.model, self.memory, self.system = model, memory, system
        self.messages: list[dict[str, str]] = []
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []

    def stream(self, text: str, **sampling: Any) -> Stream:
        """Say something; the reply comes piece by piece. Options as for `Model.generate`."""
        asked = [*self.messages, {"role": "user", "content": text}]
        run = self.model.run([asked], Sampling(**sampling), self.memory)
        self.messages = asked
        return Reply(run, self)


class Reply(Stream):
    """A reply on its way, which is added to its chat when it ends."""

    def __init__(self, run: Any, chat: Chat) -> None:
        super().__init__(run)
        self.pieces = self.kept(chat)

    def kept(self, chat: Chat) -> Iterator[tuple[int, Piece]]:
        """The pieces; whatever ends them, the text so far joins the conversation."""
        try:
            yield from self.run
        finally:
            chat.messages.append({"role": "assistant", "content": self.result.text})
