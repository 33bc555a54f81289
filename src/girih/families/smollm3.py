"""SmolLM3: Llama's layers, of which every few know no positions."""

from dataclasses import replace

from girih.families.config import Config
from girih.families.gguf_names import INTERLEAVED
from girih.families.masks import Masks, masks
from girih.families.names import LLAMA
from girih.families.parts import biases
from girih.families.skeletons import llama_like
from girih.spec import Attention, Model, SpecError

ARCHITECTURE = "SmolLM3ForCausalLM"
NAMES = LLAMA
GGUF_NAMES = INTERLEAVED


def spec(config: Config) -> Model:
    """The spec of a `smollm3` config; a one in `no_rope_layers` means that a layer has them."""
    count = config.integer("num_hidden_layers")
    every = config.integer("no_rope_layer_interval", 4)
    default = [int((index + 1) % max(every, 1) != 0) for index in range(max(0, min(count, 10_000)))]
    rotated = config.get("no_rope_layers", default)
    if not isinstance(rotated, list) or len(rotated) != count or not set(rotated) <= {0, 1}:
        raise SpecError(f"no_rope_layers is not a list of zeros and ones for {count} layers")

    def varied(mixer: Attention, index: int) -> Attention:
        return mixer if rotated[index] else replace(mixer, position=None)

    def windows(config: Config, count: int) -> Masks:
        used = config.flag("use_sliding_window", False)
        window = config.integer("sliding_window", None) if used else None
        config.get("sliding_window", None)
        return masks(config, count, window, lambda i: window is not None and not rotated[i])

    return llama_like(
        config,
        biases=biases(config),
        mlp_biased=config.flag("mlp_bias", False),
        tied=True,
        masked=windows,
        varied=varied,
    )
