"""Conversations and chat templates, a row each: what every rendering test runs on."""

from typing import Any

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
{{- '<|start_header_id|>system<|end_header_id|>\\n\\nYear: ' + when }}
{{- '\\n' + system + '<|eot_id|>' }}
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
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
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
{{- shout -}}{{ (messages | last).content is string }} {{ none }}
{{ true }} {{ 1.0 }} {{ [1, 'a'] }}
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
    "spaces": "  {% if true %}{% endif %}  \n  a {#- gone -#}  b  \n{%- if false %}x{% endif +%}\n"
    "  {%+ if 1 %} c{% endif %}\n"
    "\t{% for m in messages %}\n\t{{ m.role }}\n{% endfor %}\n{# note #}\nend\n\n",
    "strings": """
{%- set text = messages[-1].content if messages[-1].content is string else ' a,b ' -%}
{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip('?') }}|{{ text.split(' ') }}|{{ text.lower() }}
{{- text.replace('a', 'o') }}|{{ text.endswith('\\n') }}|{{ text.count('o') }}|{{ text.find('k') }}|
{{- text[1:-1] }}|{{ text * 2 }}|{{ ','.join(['x', 'y']) }}|{{ text.upper().isupper() }}|
{{- text.capitalize() }}|{{ '%' in text }}|{{ text | first }}|{{ text.splitlines() }}|
{{- {'a': 1}.get('b', 'none') }}|{{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 5 }} {{ -3 | abs }}|{{ undefined_thing }}
{{- messages[0].missing is defined }}|{{ messages[0].get('missing') }}|{{ 'x' if false }}|
{{- '{}-{}'.format(1, 'b') }}|{{ range(3) | list }}|{{ range(1, 8, 3) | list }}|{{ 'a' ~ 1 ~ none }}
""",
}
