"""Renders chat templates, one JSON line in, one out: the program of the child process.

It is started by file path, so it sees neither the package nor what the package needs; a template
that eats its memory or time takes only this process with it. The rules are those of `transformers`:
blocks are trimmed, `tojson` does not escape HTML, `{% generation %}` marks nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import resource
import sys
from datetime import datetime
from typing import Any

if len(sys.argv) > 1:
    sys.path.append(sys.argv[1])  # where minijinja lives, which an isolated start does not look up
import minijinja

_GENERATION = re.compile(r"\{%([-+]?)\s*(?:end)?generation\s*([-+]?)%\}")
_MEMORY = 1 << 30  # bytes a render may take beyond what the process has at its start
_SECONDS = 2  # of processor time a render may take, to the next whole second
_FUEL = 20_000_000  # instructions of the template engine a render may take
_OUTPUT = 1 << 24  # characters a render may give


class _RefusedError(Exception):
    """What `raise_exception` in a template raises."""


def _raise_exception(message: object) -> None:
    raise _RefusedError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """JSON as `json.dumps` writes it. The engine hands a lone 1.0 over as 1, a list of it whole."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=tuple(separators) if separators else None,
        sort_keys=sort_keys,
    )


def _plain(source: str) -> str:
    """The template without `generation` marks; an empty if keeps their white space control."""
    return _GENERATION.sub(r"{%\1 if true %}{% endif \2%}", source)


def render(source: str, variables: dict[str, Any]) -> str:
    """A rendered template. Raises what minijinja raises, and _RefusedError."""
    environment = minijinja.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        fuel=_FUEL,
        debug=False,
        auto_escape_callback=lambda name: False,
        filters={"tojson": _tojson},
        globals={"raise_exception": _raise_exception, "strftime_now": _strftime_now},
    )
    return environment.render_str(_plain(source), **variables)


def answer(line: bytes) -> dict[str, str]:
    """The reply to one request: {"text": ...}, {"refused": ...} or {"failed": ...}."""
    try:
        request = json.loads(line)
        text = render(request["source"], request["variables"])
    except _RefusedError as error:
        return {"refused": str(error)}
    except minijinja.TemplateError as error:
        return {"failed": str(error).partition("\n")[0]}
    except MemoryError:
        return {"failed": "it needs too much memory"}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
    if len(text) > _OUTPUT:
        return {"failed": f"its result is longer than {_OUTPUT} characters"}
    return {"text": text}


def _limit(kind: int, value: int) -> None:
    # A lower hard limit, or a system without this one: the parent's clock still holds.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (value, resource.getrlimit(kind)[1]))


def _limit_process() -> None:
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:  # Linux only
        used = int(file.read().split()[0]) * resource.getpagesize()
        _limit(resource.RLIMIT_AS, used + _MEMORY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)


def _limit_render() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + _SECONDS)


def _send(reply: dict[str, str]) -> None:
    sys.stdout.buffer.write(json.dumps(reply).encode() + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Answers requests until the parent closes the pipe."""
    _limit_process()
    _send({"ready": ""})
    for line in sys.stdin.buffer:
        _limit_render()
        _send(answer(line))


if __name__ == "__main__":
    main()
