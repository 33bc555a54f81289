"""The entries of the reference: whole, linked to what exists, right in the numbers they quote."""

import re
from functools import cache
from pathlib import Path

import pytest

from girih.families import spec_from_config
from girih.spec import Sliding, cost
from girih.spec.scans import Mamba, ShortConv
from published import PUBLISHED
from test_experts_cost import DEEPSEEK, GPT_OSS, MIXTRAL
from test_golden import DEEPSEEK_V3_DENSE, GPT2_XL, LLAMA_2_7B, LLAMA_3_8B, MIB, QWEN3_06B

ROOT = Path(__file__).parent.parent
LEVELS = ("beginner", "intermediate", "advanced")
GLOSSARY = [
    "attention",
    "decoder",
    "embedding",
    "encoder",
    "encoder-decoder",
    "flash-attention",
    "kv-cache",
    "mamba",
    "mixture-of-experts",
    "multi-head-attention",
    "parameter-count",
    "positional-encoding",
    "reasoning-model",
    "rope",
    "self-attention",
    "sliding-window-attention",
    "transformer",
]
ATTENTION = "Attention mechanisms and position encodings"
CARDS = {
    "Neural network architectures": "dense-transformer state-space-models mixture-of-experts",
    "Generative models": "multimodal diffusion",
    ATTENTION: "multi-head-attention gqa mqa mla rope",
    "Interactive visualisations": "sliding-window-attention grouped-window",
    "Tooling and application patterns": "mcp rag",
}
NOT_RUN = {"multimodal": "", "diffusion": "", "mcp": "", "rag": ""}
NOT_RUN |= {"encoder": "mask", "encoder-decoder": "mask", "reasoning-model": "reasoning"}
"""By girih, as yet; and the figure that shows a part of it all the same."""
LINKS = (
    r"figure ([a-z]+)( [a-z]+=[^ ]+)*",
    r"test (test_\w+\.py)::(test_\w+)",
    r"arxiv \d{4}\.\d{4,5} .+",
    r"page https://\S+ .+",
)


class Entry:
    """A page: its fields, its sections, the items of its lists."""

    def __init__(self, file: Path) -> None:
        _, head, body = file.read_text("utf-8").split("---\n", 2)
        self.id, self.whole = file.stem, head + body
        self.fields = dict(line.split(": ", 1) for line in head.splitlines())
        parts = re.split(r"^# (\w+)\n", body, flags=re.MULTILINE)
        self.sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    def words(self, name: str) -> list[str]:
        return [one.strip() for one in self.fields.get(name, "").split(",") if one.strip()]

    def items(self, name: str) -> list[list[str]]:
        text = re.sub(r"\n  +", " ", self.sections.get(name, ""))
        return [line[2:].split(" | ") for line in text.splitlines() if line.startswith("- ")]


@cache
def entries() -> dict[str, Entry]:
    return {file.stem: Entry(file) for file in sorted(ROOT.glob("ui/reference/*.md"))}


ALL = sorted({*GLOSSARY, *" ".join(CARDS.values()).split()})


def test_there_is_a_page_for_each_term_and_each_card():
    assert sorted(entries()) == ALL and len(ALL) == 27
    listed = {name: entry.words("lists") for name, entry in entries().items()}
    assert sorted(name for name, lists in listed.items() if "glossary" in lists) == GLOSSARY
    cards = {name: entries()[name].fields["category"] for name in listed if "card" in listed[name]}
    assert cards == {name: group for group, names in CARDS.items() for name in names.split()}


@pytest.mark.parametrize("name", ALL)
def test_a_page_is_whole(name):
    entry = entries()[name]
    assert entry.fields["level"] in LEVELS and entry.fields["title"] and entry.fields["gist"]
    texts = [entry.sections[level].strip() for level in LEVELS]
    assert len(set(texts)) == 3 and all(len(text) > 80 for text in texts)
    said = re.findall(r"^(\w+): .", entry.sections["formula"], re.MULTILINE)
    assert said == list(LEVELS), "a formula is read for each level"
    assert len(entry.items("characteristics")) >= 3 and len(entry.items("uses")) >= 2
    for text, link in entry.items("characteristics"):
        assert text and any(re.fullmatch(one, link) for one in LINKS), link
    assert len(entry.items("examples")) >= 3
    for _, year, _, source in entry.items("examples"):
        assert re.fullmatch(r"(19|20)\d\d", year)
        assert any(re.fullmatch(one, source) for one in LINKS[2:]), source
        if paper := re.match(r"arxiv (\d\d)\d\d\.", source):
            assert abs(2000 + int(paper[1]) - int(year)) <= 1, (source, year)


@pytest.mark.parametrize("name", ALL)
def test_what_a_page_names_exists(name):
    entry = entries()[name]
    for file in entry.words("code"):
        assert (ROOT / "src/girih" / file).is_file(), file
    for other in [*entry.words("related"), *re.findall(r"\[\[([^\]|]+)", entry.whole)]:
        assert other in entries(), other
    for _, link in entry.items("characteristics"):
        if test := re.fullmatch(LINKS[1], link):
            assert f"def {test[2]}(" in (ROOT / "tests" / test[1]).read_text("utf-8"), link
        if figure := re.fullmatch(LINKS[0], link):
            assert (ROOT / "ui/src/views" / figure[1] / "index.tsx").is_file(), link


@pytest.mark.parametrize("name", ALL)
def test_a_page_has_a_figure_or_says_what_is_not_run(name):
    entry = entries()[name]
    view = entry.fields.get("figure", "").split(" ")[0]
    if view:
        assert (ROOT / "ui/src/views" / view / "index.tsx").is_file(), view
        assert entry.words("code"), "what is shown is somewhere implemented"
    if name not in NOT_RUN:
        assert view and "lacking" not in entry.fields
        return
    assert re.match(r"girih .*(not|no) .*yet", entry.fields["lacking"])
    assert view == NOT_RUN[name]
    assert bool(entry.words("code")) == bool(view), "nothing is linked that is not there"


def numbers():
    """What pages say in digits, as the engine counts it."""
    v3 = cost(spec_from_config(DEEPSEEK_V3_DENSE), context=4096)
    mixer = spec_from_config(DEEPSEEK_V3_DENSE).stacks[0].layers[0].branches[0].mixer
    wide = mixer.heads * (mixer.plain_dim + mixer.rope_dim + mixer.value_dim)
    gemma = cost(spec_from_config(PUBLISHED["gemma-3-1b-it"][0]), context=32768).state_bytes
    mixtral, small = cost(spec_from_config(MIXTRAL)), cost(spec_from_config(GPT_OSS))
    large = cost(spec_from_config(DEEPSEEK)).parameters
    llama, layer = cost(LLAMA_3_8B, context=8192), LLAMA_3_8B.stacks[0].layers[0]
    smol, table = PUBLISHED["SmolLM2-135M"][1], 49_152 * 576
    scan = Mamba(inner=1536, states=16, rank=48, conv=ShortConv(width=4))
    remembered = 24 * 4 * sum(slot.shape[0] * slot.shape[1] for slot in scan.state())
    millions, billions = 1e6, 1e9
    return {
        "kv-cache": [
            f"{llama.state_bytes_per_token:,} bytes a token",
            f"{gemma // MIB} MiB at 32,768",
            f"{v3.state_bytes_per_token:,} bytes",
        ],
        "gqa": [f"{llama.state_bytes_per_token:,} bytes a token"],
        "mla": [
            f"= {v3.state_bytes_per_token:,} bytes",
            f"= {61 * 2 * wide:,}",
            f"{round(61 * 2 * wide / v3.state_bytes_per_token)} times",
        ],
        "multi-head-attention": [
            f"{cost(LLAMA_2_7B, state='float16').state_bytes_per_token // 1024} KiB a token",
            f"{cost(GPT2_XL, state='float16').state_bytes_per_token // 1024} KiB a token",
        ],
        "parameter-count": [
            f"= {llama.parameters:,}",
            f"{sum(t.numel for t in layer.tensors(4096).values()):,}",
            f"{cost(GPT2_XL).parameters:,}",
            f"{mixtral.parameters:,}, of which {mixtral.active_parameters:,} are active",
        ],
        "mixture-of-experts": [
            f"{mixtral.parameters / billions:.1f} billion parameters, "
            f"{mixtral.active_parameters / billions:.1f} active",
            f"{large / billions:.0f} billion",
            f"{small.parameters / billions:.1f} billion, 3.6 active",
        ],
        "embedding": [f"{table / millions:.1f} of {smol / millions:.1f} million parameters"],
        "mamba": [f"{remembered:,} bytes"],
        "dense-transformer": [
            f"{sum(t.numel for t in layer.tensors(4096).values()):,} parameters",
            f"{len(spec_from_config(PUBLISHED['SmolLM2-135M'][0]).stacks[0].layers)} times",
            f"{llama.decode.linear / billions:.2f} GFLOP",
            f"{llama.decode.attention / billions:.2f} of attention",
        ],
    }


def test_numbers_of_the_pages_are_those_of_the_engine():
    for name, phrases in numbers().items():
        text = re.sub(r"\s+", " ", entries()[name].whole)
        for phrase in phrases:
            assert phrase in text, (name, phrase)
    assert QWEN3_06B.stacks[0].layers[0].branches[0].mixer.head_dim == 128
    assert "16 heads of 128 on 1,024" in re.sub(
        r"\s+", " ", entries()["multi-head-attention"].whole
    )


def test_the_classic_window_is_the_mask_of_the_page():
    text = entries()["sliding-window-attention"].whole
    found = re.search(r"has left (\d), right (\d): token 1 sees tokens 1 to (\d)", text)
    assert found
    mask = Sliding(left=int(found[1]), right=int(found[2]))
    seen = [key + 1 for key in range(16) if mask.sees(0, key)]
    assert seen == list(range(1, int(found[3]) + 1))
    assert mask.left + mask.right == 4, "a window of 4 around the token"
