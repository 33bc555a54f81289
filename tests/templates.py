"""Conversations and chat templates, a row each: what every rendering test runs on."""

from pathlib import Path
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
CALL = {
    "id": "a1b2c3d4e",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich's <x>", "days": 2}},
}
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
FILES = sorted((Path(__file__).parent / "golden" / "templates").glob("*.jinja"))
TEMPLATES = {file.stem: file.read_text(encoding="utf-8") for file in FILES}
