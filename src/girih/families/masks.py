"""Readers of what each layer sees."""

from collections.abc import Callable, Collection

from girih.families.config import Config, plain
from girih.families.rotary import FULL, SLIDING, longest
from girih.spec import Causal, Sliding, SpecError

Masks = tuple[Causal | Sliding, ...]
MOST = 10_000
"""No model has more layers."""
LINEAR = "linear_attention"
"""The word of `layer_types` for a layer of delta rules."""
KINDS = {FULL: False, SLIDING: True}
"""`layer_types` of the Hugging Face layout -> whether the layer has a window."""


def window(config: Config, default: int | None = None) -> int | None:
    """The tokens that a layer with a window sees; a null means none, whatever the default."""
    key = "sliding_window"
    found: int | None = config.integer(key, config.unwritten(key, default))
    return found


def windows(config: Config, count: int, default: int | None = None) -> Masks:
    """The masks where every layer has the window, if there is one."""
    size = window(config, default)
    return masks(config, count, size, lambda index: size is not None)


def pattern(config: Config, default: int) -> int:
    """How many layers it is from one that sees all to the next."""
    every = config.integer("sliding_window_pattern", default)
    config.get("_sliding_window_pattern", None)
    if every < 1:
        raise SpecError(f"sliding_window_pattern {every} is below one")
    return int(every)


def masks(
    config: Config,
    count: int,
    size: int | None,
    slides: Callable[[int], bool],
    **given: int | None,
) -> Masks:
    """The mask of each layer: `layer_types` says which have a window, or else `slides` does.

    A window of W tokens counts the token itself, as the reference library has it; one that is no
    shorter than the context (that of the config, unless it is given) hides nothing.
    """
    kinds = kinds_of(config, count, KINDS, lambda index: SLIDING if slides(index) else FULL)
    context = given.get("context", longest(config))
    if size is not None and size < 1:
        raise SpecError(f"sliding_window {size} is below one: a token sees itself")
    hides = size is not None and (context is None or size < context)
    windowed = Sliding(left=size - 1) if hides and size else Causal()
    if SLIDING in kinds and size is None:
        raise SpecError(f"layer_types {SLIDING}, but no sliding_window")
    return tuple(windowed if KINDS[kind] else Causal() for kind in kinds)


def kinds_of(
    config: Config,
    count: int,
    known: Collection[str],
    default: Callable[[int], str],
    key: str = "layer_types",
) -> list[str]:
    """The word for the kind of each layer, of those known, from a list or else the `default`."""
    kinds = config.words(key, [default(index) for index in range(max(0, min(count, MOST)))])
    other = sorted(set(kinds) - set(known))
    if other:
        raise SpecError(f"{key} {plain(other[0])} is not supported, only {', '.join(known)}")
    if len(kinds) != count:
        raise SpecError(f"{len(kinds)} {key} for {count} layers")
    return kinds


def optional_window(config: Config, count: int) -> Masks:
    """The masks of Qwen2 and 3: the layers from `max_window_layers` on, if windows are in use."""
    used = config.flag("use_sliding_window", False)
    size = config.integer("sliding_window", 4096 if used else None)
    first = config.integer("max_window_layers", 28)
    return masks(config, count, size if used else None, lambda index: used and index >= first)
