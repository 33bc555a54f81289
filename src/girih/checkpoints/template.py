"""Chat templates: a conversation to the text a model was trained on, rendered in a child process.

Templates come with the weights from anyone, and the engine aborts the process when memory runs out,
so one child with limits renders them all; it is started when needed and again when it has died.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_CHILD = Path(__file__).with_name("template_child.py")
_START_SECONDS = 30.0
_RENDER_SECONDS = 4.0
_SOURCE = 1 << 20  # characters of a template
_REPLY = 1 << 28  # bytes of a reply: 2^24 characters, escaped at worst twelve bytes each
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """A chat template (Jinja) and the special tokens it may name (bos_token, eos_token ...).

    Renders as `transformers` does. All templates of a process share one child process.
    """

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None) -> None:
        if len(source) > _SOURCE:
            raise ValueError(f"the chat template has {len(source)} characters; at most {_SOURCE}")
        self.source = source
        self.tokens = dict(tokens or {})

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The conversation as text; `variables` (tools, documents, ...) go to the template.

        ValueError, one line, when the template refuses the conversation, fails, or takes more than
        4 seconds, 1 GiB or 16 million characters of text.
        """
        values: dict[str, Any] = {
            **self.tokens,
            "tools": None,
            "documents": None,
            **variables,
            "messages": [_with_reasoning(message) for message in messages],
            "add_generation_prompt": add_generation_prompt,
        }
        reply = _child.ask(_request({"source": self.source, "variables": values}))
        if "text" in reply:
            return reply["text"]
        if "refused" in reply:
            raise ValueError(
                f"the chat template refuses this conversation: {_one_line(reply['refused'])}"
            )
        raise ValueError(f"the chat template fails: {_one_line(reply.get('failed', 'no reason'))}")

    def close(self) -> None:
        """Ends the shared child; the next render of any template starts another."""
        _child.close()


def _with_reasoning(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message whose reasoning has every name that templates look for, as in `transformers`."""
    if not isinstance(message, Mapping):
        raise ValueError(f"a chat message is a mapping, not {type(message).__name__}")
    found = (message.get(name) for name in _REASONING)
    reasoning = next((text for text in found if text is not None), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


class _DiedError(Exception):
    """The child ended in the middle of a render; the argument is its exit status."""


class _Child:
    """The one process that renders, behind a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: bytes) -> dict[str, str]:
        with self._lock:
            try:
                return self._ask(request)
            except _DiedError as error:
                if error.args[0] not in (-signal.SIGKILL, -signal.SIGTERM):
                    return {"failed": _death(error.args[0])}
            try:  # someone ended the child: that says nothing about the template
                return self._ask(request)
            except _DiedError as error:
                return {"failed": _death(error.args[0])}

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> dict[str, str]:
        process = self._running()
        try:
            return self._exchange(process, request, _RENDER_SECONDS)
        except TimeoutError:
            self._end()
            return {"failed": f"it takes longer than {_RENDER_SECONDS:g} seconds"}
        except BaseException:  # half an exchange is no state to go on from
            self._end()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        found = importlib.util.find_spec("minijinja")
        if found is None or found.origin is None:
            raise ValueError("chat templates need the package minijinja: pip install minijinja")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CHILD), str(Path(found.origin).parent.parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us
        )
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
        try:
            self._exchange(self._process, b"", _START_SECONDS)
        except (TimeoutError, _DiedError):
            self._end()
            raise ValueError(
                f"the process that renders chat templates does not start: {sys.executable} {_CHILD}"
            ) from None
        return self._process

    def _exchange(
        self, process: subprocess.Popen[bytes], request: bytes, seconds: float
    ) -> dict[str, str]:
        """Sends a line, none if empty, and reads one, both without waiting past the deadline."""
        assert process.stdin is not None and process.stdout is not None
        deadline = time.monotonic() + seconds
        reply = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if request:
                selector.register(process.stdin, selectors.EVENT_WRITE)
            left = memoryview(request)
            while not reply.endswith(b"\n"):
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready or len(reply) > _REPLY:
                    raise TimeoutError
                for key, _ in ready:
                    if key.fileobj is process.stdin:
                        left = _write(process.stdin, left)
                        if not left:
                            selector.unregister(process.stdin)
                    else:
                        part = os.read(process.stdout.fileno(), 1 << 16)
                        if not part:
                            raise _DiedError(process.wait(seconds))
                        reply += part
        value: dict[str, str] = json.loads(reply)
        return value

    def forget(self) -> None:
        """After a fork: the child, and a lock some thread may have held, belong to the parent."""
        self._lock = threading.Lock()
        process, self._process = self._process, None
        if process is not None:
            process.returncode = 0  # not ours to wait for
            _close_pipes(process)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close_pipes(process)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # a pipe to a dead process
                pipe.close()


def _write(pipe: IO[bytes], data: memoryview) -> memoryview:
    try:
        return data[os.write(pipe.fileno(), data[: 1 << 16]) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return data[:0]  # the read side learns why


def _death(status: int) -> str:
    if status == -signal.SIGXCPU:
        return "it takes too much processor time"
    if status in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
        return "it needs too much memory"
    return f"the process that renders it ended with status {status}"


def _request(value: dict[str, Any]) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        raise ValueError("the conversation is not Unicode: it holds a lone surrogate") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the conversation cannot be written as JSON: {error}") from None


def _one_line(text: str, limit: int = 500) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit] + "..."


_child = _Child()
atexit.register(_child.close)
os.register_at_fork(after_in_child=_child.forget)
