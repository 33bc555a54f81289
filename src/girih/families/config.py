"""The reader of a config that records what was taken, so that nothing is dropped silently."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from girih.spec.base import MOST_INT, show
from girih.spec.errors import SpecError

BOOKKEEPING = frozenset(
    (
        # names and provenance
        "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_name_or_path",
        "architectures", "auto_map", "is_llama_config", "model_type", "name_or_path",
        "tokenizer_class", "transformers.js_config", "transformers_version", "unsloth_fixed",
        "unsloth_version",
        # tokens, which the tokenizer's own files decide
        "bos_token_id", "decoder_start_token_id", "eos_token_id", "forced_bos_token_id",
        "forced_eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id",
        # training
        "attention_dropout", "attn_pdrop", "embd_pdrop", "finetuning_task",
        "gradient_checkpointing", "hidden_dropout", "initializer_range", "neftune_noise_alpha",
        "resid_pdrop",
        # storage and what a call returns
        "cache_implementation", "dtype", "output_attentions", "output_hidden_states",
        "output_scores", "pruned_heads", "return_dict", "return_dict_in_generate",
        "tf_legacy_loss", "torch_dtype", "torchscript", "use_bfloat16", "use_cache",
        # other tasks than text
        "add_cross_attention", "chunk_size_feed_forward", "cross_attention_hidden_size",
        "id2label", "is_decoder", "is_encoder_decoder", "label2id", "prefix", "problem_type",
        "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
        "summary_use_proj", "task_specific_params", "tie_encoder_decoder",
        # defaults of generation
        "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample",
        "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty",
        "length_penalty", "max_length", "min_length", "no_repeat_ngram_size", "num_beam_groups",
        "num_beams", "num_return_sequences", "remove_invalid_values", "repetition_penalty",
        "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
    )
)  # fmt: skip
"""Keys that say nothing of what an inference pass computes: names, training, output options."""

MISSING: Any = object()
MOST = 1e300
"""No number of a config is larger."""


class Config:
    """A config.json as a mapping whose every key must be read, be bookkeeping, or be let pass."""

    def __init__(self, data: Mapping[str, Any], path: str = "config.json") -> None:
        self.data = data
        self.path = path
        self.taken: set[str] = set()
        self.parts: dict[str, Config] = {}
        self.spelt: dict[str, str] = {}

    def spell(self, **names: str) -> None:
        """Read some keys, where they are absent, under other names that a family gives them."""
        for key, other in names.items():
            if key not in self.data:
                self.data = {key if k == other else k: v for k, v in self.data.items()}
                self.spelt[key] = other

    def written(self, key: str) -> str:
        """A key as the config has it."""
        return self.spelt.get(key, key)

    def wrong(self, key: str, value: object, why: str) -> SpecError:
        """What is raised for the value of a key."""
        return SpecError(f"{self.path}: {self.written(key)} {show(value)} {why}")

    def get(self, key: str, default: Any = MISSING) -> Any:
        """The value of a key; a null counts as absent. Raises SpecError if there is none."""
        self.taken.add(key)
        value = self.data.get(key)
        if value is not None:
            return value
        if default is MISSING:
            raise SpecError(f"{self.path}: the key {self.written(key)} is missing")
        return default

    def unwritten(self, key: str, default: Any) -> Any:
        """The default of a key, which stands for its absence alone: a null means none."""
        return None if key in self.data else default

    def integer(self, key: str, default: Any = MISSING) -> Any:
        """A whole number (or the default, which may be None)."""
        value = self.get(key, default)
        if value is not default and (isinstance(value, bool) or not isinstance(value, int)):
            raise self.wrong(key, value, "is not a whole number")
        if value is not default and abs(value) > MOST_INT:
            raise self.wrong(key, value, "is too large a number")
        return value

    def number(self, key: str, default: Any = MISSING) -> Any:
        """A number (or the default)."""
        value = self.get(key, default)
        if value is default:
            return value
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not abs(value) <= MOST:
            raise self.wrong(key, value, "is not a finite number")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """A true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "is not true or false")
        return value

    def word(self, key: str, known: Mapping[str, Any], default: Any = MISSING) -> Any:
        """What a word stands for among those known."""
        value = self.get(key, default)
        if not isinstance(value, str) or value not in known:
            words = ", ".join(known)
            raise self.wrong(key, value, f"is not known; known: {words}")
        return known[value]

    def words(self, key: str, default: list[str]) -> list[str]:
        """A list of words."""
        value = self.get(key, default)
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.wrong(key, value, "is not a list of words")
        return value

    def numbers(self, key: str, default: Sequence[int]) -> Sequence[int]:
        """A list of whole numbers."""
        value = self.get(key, default)
        given = value is not default
        if given and (not isinstance(value, list) or any(type(one) is not int for one in value)):
            raise self.wrong(key, value, "is not a list of whole numbers")
        return value  # type: ignore[no-any-return]

    def part(self, key: str) -> "Config | None":
        """A nested object, read with the same care; None where absent."""
        value = self.get(key, None)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, value, "is not an object")
        if key not in self.parts:
            self.parts[key] = Config(value, f"{self.path}: {key}")
        return self.parts[key]

    def only(self, key: str, expected: Any, default: Any = MISSING) -> None:
        """Take a key of which one value is supported; raise SpecError at any other."""
        value = self.get(key, expected if default is MISSING else default)
        if value != expected:
            raise self.wrong(key, value, f"is not supported, only {expected!r}")

    def finish(self, allowed: Iterable[str] = ()) -> None:
        """Raise SpecError naming the keys that nobody read."""
        passed = {*map(self.written, self.taken), *BOOKKEEPING, *allowed}
        given = [self.written(key) for key, value in self.data.items() if value is not None]
        left = [key for key in given if key not in passed]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise SpecError(
                f"{self.path}: {', '.join(map(plain, left[:3]))}{more}: not read by this family; "
                f"if it may be left out, pass --ignore {plain(left[0])}"
            )
        for part in self.parts.values():
            part.finish(allowed)


def plain(key: object) -> str:
    """A key as it is, or quoted where it is long or has control characters."""
    text = str(key)
    return text if text.isprintable() and len(text) <= 60 else show(text)
