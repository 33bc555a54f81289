"""A conversation with a model."""

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from girih.engine.guess import Proposer
from girih.engine.memory import Memory
from girih.engine.prompt import shown
from girih.engine.result import Piece
from girih.engine.run import Run
from girih.engine.sample import Sampling
from girih.engine.stream import Stream

if TYPE_CHECKING:
    from girih.engine.model import Model


class Chat:
    """Messages so far, and the state they left, so that a turn costs only its new tokens.

    A turn joins `messages` when its stream ends, is closed or dropped, with the reply as far as it
    was generated; the next turn closes a reply that is still on its way. A turn that cannot be run,
    or that ends before its first token, leaves the conversation as it was.
    """

    def __init__(
        self,
        model: "Model",
        memory: Memory,
        system: str | None = None,
        proposer: Proposer | None = None,
    ) -> None:
        self.model, self.memory, self.proposer, self.system = model, memory, proposer, None
        if system is not None:
            self.system = message("system", system)
        self.messages: list[dict[str, str]] = []
        self.reply: weakref.ref[Stream] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything but the system message."""
        self.interrupt()
        self.messages = [] if self.system is None else [self.system]

    def stream(self, text: str, **sampling: Any) -> Stream:
        """Say something; the reply comes piece by piece. Options as for `Model.generate`."""
        chosen, said = Sampling(**sampling), message("user", text)
        self.interrupt()
        asked = [*self.messages, said]
        run = self.model.run([asked], chosen, self.memory, self.proposer)
        reply = Stream(run, pieces(run, self, asked))
        self.reply = weakref.ref(reply)
        return reply

    def interrupt(self) -> None:
        """End a reply that is still on its way: two at once would write over each other."""
        reply = self.reply() if self.reply is not None else None
        if reply is not None:
            reply.close()


def message(role: str, text: str) -> dict[str, str]:
    """One message; raises ValueError for what is not a text."""
    if not isinstance(text, str):
        raise ValueError(f"a message is a text, not {shown(text)}")
    return {"role": role, "content": text}


def pieces(run: Run, chat: Chat, asked: list[dict[str, str]]) -> Iterator[tuple[int, Piece]]:
    """The pieces of a reply; whatever ends them, what was said so far joins the conversation."""
    try:
        yield from run
    finally:
        track = run.tracks[0]
        if track.tokens or track.finish is not None:
            chat.messages = [*asked, message("assistant", track.text)]
