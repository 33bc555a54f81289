"""What GGUF files leave to the reader, as data: pre-tokenizer kinds, and tokens known by text.

`KINDS` maps `tokenizer.ggml.pre` to a `Kind`. The regular expressions and names are facts of the
models' tokenizers as llama.cpp applies them (github.com/ggml-org/llama.cpp,
src/llama-vocab.cpp), in the syntax of Oniguruma.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How text is cut before merging: each expression cuts the pieces of the one before it."""

    splits: tuple[str, ...]
    whole_words: bool = False  # a piece that is a token is taken without merging
    bos: bool = False  # what is added when the file does not say


# Written out rather than (?i:...), which would also take U+017F and U+212A.
_SUFFIX = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BREAKS = r"\s*[\r\n]+"
_SPACE = r"\s+(?!\S)|\s+"
_HIGH = r"(?:(?=\p{L})[^a-z])"
_LOW = r"(?:(?=\p{L})[^A-Z])"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_HIGH}*{_LOW}+", rf"[^\r\n\p{{L}}\p{{N}}]?{_HIGH}+{_LOW}*"
_SIGNS_SLASH = r" ?[^\s\p{L}\p{N}]+[\r\n/]*"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = rf"{_SUFFIX}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_BREAKS}|{_SPACE}"
_QWEN2 = rf"{_SUFFIX}|{_WORD}|\p{{N}}|{_SIGNS}|{_BREAKS}|{_SPACE}"
_QWEN35 = (
    rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_BREAKS}|{_SPACE}"
)
_TEKKEN = rf"{_CASED[0]}|{_CASED[1]}|\p{{N}}|{_SIGNS_SLASH}|{_BREAKS}|{_SPACE}"
_GPT4O = (
    rf"{_CASED[0]}(?:{_SUFFIX})?|{_CASED[1]}(?:{_SUFFIX})?"
    rf"|\p{{N}}{{1,3}}|{_SIGNS_SLASH}|{_BREAKS}|{_SPACE}"
)
_MARKED = r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+"
_YOUTU = rf"{_MARKED}(?:{_SUFFIX})?|\p{{N}}|{_SIGNS_SLASH}|{_BREAKS}|{_SPACE}"
_YOUTU_SCRIPTS = (
    r"[\uAC00-\uD7A3\u3131-\u318E]+"
    r"|[\uFF01\u2026\u201C\u201D\u2018\u2019\u2014\uFF1A\uFF1B\uFF0C\u3001-\u303F\uFE30-\uFE4F]+"
    r"|[\u3105-\u312F]+|[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
)
_ASCII_SIGN = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"
_DEEPSEEK3 = (
    rf"{_ASCII_SIGN}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_KANA = r"[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+"
# White space is white space to llama.cpp even where a range of characters takes it in.
_CJK = r"[[\u0800-\u9FA5\uAC00-\uD7FF]&&[^\s]]+"
_CASED_LETTERS = (  # the letters with case of Unicode 8, as DeepSeek LLM lists them
    r"A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF"
    r"\u0370-\u0373\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1"
    r"\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5"
    r"\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79-\u1D9A"
    r"\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D"
    r"\u1F5F-\u1F7D\u1F80-\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3"
    r"\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-\u1FFC\u2102\u2107\u210A-\u2113\u2115"
    r"\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-\u213F\u2145-\u2149"
    r"\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D"
    r"\uA680-\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06"
    r"\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A\x{10400}-\x{1044F}\x{104B0}-\x{104D3}"
    r"\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}"
    r"\x{1E900}-\x{1E943}"
)
_DEEPSEEK_SIGNS = r"\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3001\u3002]+"
_DEEPSEEK = (r"[\r\n]", rf"\s?[{_CASED_LETTERS}]+", _DEEPSEEK_SIGNS, r"\s+\z", _CJK, r"\p{N}+")
_BLOOM = r" ?[^(\s|.,!?\u2026\u3002\uFF0C\u3001\u0964\u06D4\u060C)]+"
_SEED = rf"{_SUFFIX}|{_WORD}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}\r\n]+|{_BREAKS}|{_SPACE}"
_EXAONE_MOE = (
    rf"{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
)
_SPARK = (
    rf"{_ASCII_SIGN}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
    r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
)
_JAIS2 = (
    rf"{_SUFFIX}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}|{_BREAKS}|"
    + "|".join(rf"\s{{{count}}}(?!\S)" for count in (512, 256, 128, 64, 32, 16, 8, 4))
    + r"|\s{1,2}(?!\S)|\s"
)

_ROWS: tuple[tuple[str, Kind], ...] = (
    (
        "default",
        Kind(splits=(r"[\p{P}$+<=>^~|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    ),
    (
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert"
        " exaone4 jina-v1-en jina-v2-code roberta-bpe mpt olmo jais trillion granite-docling",
        Kind(splits=(_GPT2,)),
    ),
    (
        "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
        Kind(splits=(r"\p{N}", _GPT2)),
    ),
    (
        "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        Kind(splits=(_LLAMA3,), whole_words=True, bos=True),
    ),
    ("dbrx smaug-bpe chatglm-bpe", Kind(splits=(_LLAMA3,))),
    ("glm4 glm5", Kind(splits=(_LLAMA3,), whole_words=True)),
    ("jais-2", Kind(splits=(_JAIS2,))),
    ("deepseek-llm", Kind(splits=_DEEPSEEK)),
    ("deepseek-coder", Kind(splits=(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}"))),
    (
        "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
        Kind(splits=(r"\p{N}{1,3}", _KANA, _DEEPSEEK3)),
    ),
    ("spark2_5", Kind(splits=(r"\p{N}{1,3}", _KANA, _SPARK, r"\p{N}"))),
    ("youtu", Kind(splits=(_YOUTU_SCRIPTS, _YOUTU), whole_words=True)),
    ("falcon", Kind(splits=(r"[\p{P}$+<=>^~|`]+", _GPT2, r"[0-9][0-9][0-9]"))),
    (
        "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 bailingmoe"
        " bailingmoe2 llada-moe",
        Kind(splits=(_QWEN2,)),
    ),
    ("qwen35", Kind(splits=(_QWEN35,))),
    ("poro-chat bloom gpt3-finnish", Kind(splits=(_BLOOM,))),
    ("viking", Kind(splits=(_BLOOM, r"\p{N}"))),
    ("tekken", Kind(splits=(_TEKKEN,), whole_words=True, bos=True)),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", Kind(splits=(_GPT4O,))),
    ("seed-coder", Kind(splits=(_SEED,))),
    ("exaone-moe", Kind(splits=(_EXAONE_MOE,))),
    ("ufakzeka", Kind(splits=(rf"{_WORD}|\p{{N}}|{_SIGNS}|{_BREAKS}|{_SPACE}",))),
    ("laguna", Kind(splits=(r"[^\n]+|[\n]+", _QWEN2))),
    (
        "minicpm5",
        Kind(
            splits=(
                r"\p{N}{1,3}",
                rf"{_SUFFIX}|{_WORD}|\p{{N}}+|{_SIGNS}|{_BREAKS}|{_SPACE}",
            ),
            whole_words=True,
        ),
    ),
)
KINDS: dict[str, Kind] = {name: kind for names, kind in _ROWS for name in names.split()}

# fmt: off
# Texts of tokens that end a turn, whatever type the file gives them.
ENDS = frozenset(
    (
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
        "<end_of_turn>", "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]",
        "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>",
        "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
    )
)
# Texts of fill-in-the-middle and repository marks: control tokens, whatever type is given.
MARKS = frozenset(
    (
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<|fim_suffix|>", "<fim-suffix>",
        "<fim_suffix>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<|fim_pad|>",
        "<fim-pad>", "<fim_pad>", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>",
        "<reponame>", "<|file_sep|>", "<PRE>", "<SUF>", "<MID>", "<PAD>", "[PAD]",
        "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", "<|prefix|>", "<|suffix|>",
        "<|middle|>", "<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>",
        "<\uff5cfim\u2581end\uff5c>", "\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>",
    )
)
# fmt: on
