"""Makes the golden token ids in this folder with llama.cpp, which the tests then never need.

Run it when a pre-tokenizer kind or a string is added, from the root of the repository, with a
Python that has llama-cpp-python (0.3.36 made what is here), gguf, tokenizers and sentencepiece:

    PYTHONPATH=src python tests/golden/make_golden_ids.py SmolLM2-135M-Instruct.Q4_1.gguf

llama-cpp-python compiles llama.cpp for minutes: CI never installs it. Files written:
    strings.json         1,000 odd strings
    sample_ids.json      their ids with the sample's own tokenizer
    kinds.json           a small byte-level vocabulary; for each pre-tokenizer kind a digest of each
                         string's ids, and which names are the same kind
    sentencepiece.json   a small SentencePiece vocabulary, and ids with and without a space prefix
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

import gguf
import llama_cpp
import sentencepiece
import tokenizers

from girih.checkpoints.tokenizer_kinds import KINDS

HERE = Path(__file__).parent
SEED = 20_260_101
KIND_STRINGS = slice(0, 1000, 3)
UNSEEN = "incomprehensibilities"  # a word no merge makes, but a token
UNSEEN_STRINGS = [UNSEEN, f"so many {UNSEEN}", f"{UNSEEN}\n777888999", "a <tool>    b"]
UNSEEN_STRINGS += ["x<|eot_id|>y", "th\x04e i\x06n 1\x042", "t\x04h\x04e"]
MISSING = "\u0104"  # the byte 4, as byte-level vocabularies write it: here it has no token
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>"]
VISIBLE = (
    "the of and to in international Straße naïve don't I'll WE'RE they'VE it'S o'clock HTTPServer "
    "getElementById snake_case x86_64 3.14159 1,234,567 0x1F600 2024-12-31T23:59:60Z C++ C# a=b; "
    'foo->bar ::std <html> {json: [1, null]} \\n \\t $HOME %d "quoted" «guillemets» „low“ — – … '
    "Привет мир Ελληνικά שלום مرحبا بالعالم สวัสดีครับ नमस्ते দুনিয়া தமிழ் ქართული հայերեն "
    "你好世界 こんにちは カタカナ 안녕하세요 中文字符，标点。 ㄅㄆㄇ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁligature Ⅷ ½ ² ١٢٣ "
    "१२३ Dž ǅ İstanbul ſharp ΣΑΣ ẞ ÅÅ 🇩🇪 ☃ ✓ ™ ₿ ∑ ≠ →"
)
JOINED = (  # combining marks, joiners, selectors, and what does not show
    "e\u0301 n\u0303\u0303 Z\u0351\u036b\u0343a\u0334l\u0315g\u0337o \U0001f44d\U0001f3fd "
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 "
    "\u2764\ufe0f \U0001f937\u200d\u2640\ufe0f \u200b \u200d \ufeff \u00ad \u2028 \u2029 \u0085 "
    "\u00a0 \u3000 \u1680 \u202e \ufffd \ue000 \u0378"
)
WORDS = VISIBLE.split(" ") + JOINED.split(" ")
CODE = [
    "def f(x):\n    return x ** 2  # square\n",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i];\r\n}\r\n",
    "SELECT * FROM t WHERE id='1' OR 1=1;--",
    '<div class="a b">&nbsp;</div>\n\n\n',
    "\\begin{equation} e^{i\\pi}+1=0 \\end{equation}",
    'if [[ -z "$1" ]]; then\n  echo "no"\nfi\n',
    "a\n\n\nb\r\n\r\nc\rd\n \n\t\n  e",
]


def odd_strings() -> list[str]:
    """1,000 strings: fixed ones first, then mixtures drawn with a fixed seed."""
    rng = random.Random(SEED)
    points = [
        chr(point)
        for point in range(0x20000)
        if unicodedata.category(chr(point)) not in ("Cn", "Cs")
    ]
    fixed = [
        "",
        " ",
        "  ",
        "\n",
        "\t",
        "\x00",
        "a\x00b",
        "\x7f",
        "'",
        "''s",
        " 's",
        "'S 'LL",
        "\r\n",
    ]
    fixed += [chr(code) + "x" + chr(code) for code in range(32)]
    fixed += [
        "th\x04e i\x06n a\x13n\x14d",
        "t\x04h\x04e",
        " \x1d the",
    ]  # the sample has no such bytes
    fixed += [" " * size for size in (3, 4, 7, 8, 15, 16, 63, 200)]
    fixed += ["\n" * 5, "\t" * 9, " \n " * 7, "a" * 100, "=" * 81, "ana" * 12, "1" * 31, "hé" * 20]
    fixed += [*SPECIALS, *CODE, *WORDS, " ".join(WORDS[:40]), "<|im_start|", "<<|im_end|>>"]
    fixed += [
        "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n",
        "<0x0A><s></s><unk>",
        "▁▁a ▁",
    ]
    fixed += [
        "x <|im_end|>  y",
        "<|endoftext|><|endoftext|>",
        " <|im_start|> ",
        "\ufeffbom",
        "\U0010ffff",
    ]

    def draw(kind: int) -> str:
        size = rng.randint(1, 24)
        match kind:
            case 0:
                return "".join(rng.choice(points) for _ in range(size))
            case 1:
                return rng.choice(["", " ", "  "]).join(rng.choices(WORDS, k=size))
            case 2:
                return "".join(
                    rng.choice(" \t\n\r\u00a0\u3000\v\f\x85 ab1.") for _ in range(3 * size)
                )
            case 3:
                return "".join(rng.choice("0123456789.,:+-eEx ²Ⅷ١ ") for _ in range(2 * size))
            case 4:
                return rng.choice(CODE)[: 4 * size] + rng.choice(SPECIALS) + rng.choice(WORDS)
            case 5:
                return "".join(rng.choice("'\"sStTrReEvVmMlLdD ſK.!?") for _ in range(2 * size))
            case 6:
                return "".join(rng.choice(WORDS)[:2] + rng.choice(" \n'-_/9") for _ in range(size))
            case _:
                return "".join(chr(rng.randrange(0x20, 0x180)) for _ in range(2 * size))

    drawn = [draw(index % 8) for index in range(1000 - len(fixed))]
    return fixed + drawn


def ids_of(path: Path, strings: list[str]) -> list[list[int]]:
    """llama.cpp's ids, special tokens parsed, BOS and EOS as the file says."""
    model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    return [model.tokenize(text.encode(), add_bos=True, special=True) for text in strings]


def write_vocabulary(path: Path, model: str, fields: dict[str, object]) -> None:
    """A GGUF file with a vocabulary and no tensors."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(8)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(8)
    writer.add_tokenizer_model(model)
    for key, value in fields.items():
        if isinstance(value, bool):
            writer.add_bool(f"tokenizer.ggml.{key}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"tokenizer.ggml.{key}", value)
        elif isinstance(value, str):
            writer.add_string(f"tokenizer.ggml.{key}", value)
        else:
            writer.add_array(f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def kinds(strings: list[str], folder: Path) -> dict[str, object]:
    """A vocabulary whose merges cross every cut, so that a kind that cuts elsewhere shows."""
    trained = tokenizers.Tokenizer(tokenizers.models.BPE())
    trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=2600, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    trained.train_from_iterator(strings * 3, trainer)
    described = json.loads(trained.to_str())["model"]
    tokens = sorted(described["vocab"], key=described["vocab"].__getitem__)
    tokens = [token for token in tokens if MISSING not in token]
    # Words no merge makes, one of each type, and runs of spaces a user defined.
    extra = {UNSEEN: 1, f"Ġ{UNSEEN}": 1, "777": 1, "   ": 4, "<tool>": 4, "<|eot_id|>": 1}
    tokens += [word for word in extra if word not in tokens]
    types = [3 if token in SPECIALS else extra.get(token, 1) for token in tokens]
    fields: dict[str, object] = {
        "tokens": tokens,
        "token_type": types,
        "merges": [" ".join(two) for two in described["merges"] if MISSING not in "".join(two)],
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    digests: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, kind in KINDS.items():
        path = folder / "kind.gguf"
        write_vocabulary(path, "gpt2", {"pre": name, **fields})
        made = [digest(ids) for ids in ids_of(path, strings + UNSEEN_STRINGS)]
        first = next((other for other in digests if KINDS[other] == kind), None)
        if first is None:
            digests[name] = made
        elif digests[first] != made:
            raise SystemExit(f"{name} is not the same kind as {first}")
        names[name] = first or name
    return {"vocabulary": fields, "more": UNSEEN_STRINGS, "digests": digests, "names": names}


def digest(ids: list[int]) -> str:
    """Eight hexadecimal digits that stand for a list of ids."""
    return hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:8]


def sentencepiece_ids(strings: list[str], folder: Path) -> dict[str, object]:
    """A small SentencePiece BPE vocabulary with bytes, a control and a user-defined token."""
    lines = [line for text in strings for line in text.splitlines() if "\x00" not in line]
    (folder / "text").write_text("\n".join(lines * 4), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "small"),
        model_type="bpe",
        vocab_size=1600,
        character_coverage=0.98,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        user_defined_symbols=["<tool>", "▁▁▁"],
        control_symbols=["<|im_start|>", "<|im_end|>"],
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "small.model"))
    size = model.get_piece_size()
    fields: dict[str, object] = {
        "tokens": [model.id_to_piece(i) for i in range(size)],
        "scores": [model.get_score(i) for i in range(size)],
        "token_type": [
            6 if model.is_byte(i) else 2 if model.is_unknown(i) else 3 if model.is_control(i)
            else 4 if model.id_to_piece(i) in ("<tool>", "▁▁▁") else 1
            for i in range(size)
        ],
        "bos_token_id": model.bos_id(),
        "eos_token_id": model.eos_id(),
        "unknown_token_id": model.unk_id(),
    }  # fmt: skip
    made: dict[str, object] = {"vocabulary": fields, "sentencepiece": {}}
    for prefix in (True, False):
        path = folder / "sentencepiece.gguf"
        write_vocabulary(path, "llama", {**fields, "add_space_prefix": prefix})
        made[f"space_prefix_{prefix}"] = ids_of(path, strings)
    made["sentencepiece"] = [model.encode(text, add_bos=True) for text in strings]
    return made


def write(name: str, value: object) -> None:
    """Compact JSON, a list on a line each where it is a list of lists."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
    (HERE / name).write_text(text + "\n", encoding="utf-8")


def main() -> None:
    strings = odd_strings()
    assert len(strings) == 1000
    write("strings.json", strings)
    write("sample_ids.json", ids_of(Path(sys.argv[1]), strings))
    with tempfile.TemporaryDirectory() as folder:
        write("kinds.json", kinds(strings[KIND_STRINGS], Path(folder)))
        write("sentencepiece.json", sentencepiece_ids(strings[KIND_STRINGS], Path(folder)))


if __name__ == "__main__":
    main()
