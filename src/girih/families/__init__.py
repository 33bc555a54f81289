"""Who is built how: one module for each `model_type`, with `spec(config)` and NAMES."""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from girih.families.config import Config
from girih.spec.base import show
from girih.spec.errors import SpecError
from girih.spec.model import Model

SHARED = frozenset(
    {"config", "delta_names", "experts", "hybrids", "latent", "masks", "names", "parts", "rotary"}
    | {
        "gguf",
        "gguf_delta",
        "gguf_hybrids",
        "gguf_mixed",
        "gguf_names",
        "gguf_names_mixed",
        "gguf_rotary",
    }
    | {"gguf_scans", "gguf_writing", "scan_names", "skeletons"}
)


def known() -> list[str]:
    """The model types that have a family."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - SHARED)


def family(model_type: object) -> ModuleType:
    """The module of a model type; raises SpecError naming the known ones."""
    name = model_type.replace("-", "_") if isinstance(model_type, str) else None
    if name not in known():
        raise SpecError(f"model_type {show(model_type)} is not known; known: {', '.join(known())}")
    return importlib.import_module(f"girih.families.{name}")


def passed_over(config: Mapping[str, Any]) -> list[str]:
    """Patterns of the names that checkpoints of a family may have and no model of it wants."""
    module = family(config["model_type"])
    more = getattr(module, "ignored", None)
    return [*getattr(module, "IGNORED", ()), *(more(Config(config)) if more else ())]


def spec_from_config(
    config: Mapping[str, Any], *, ignore: Iterable[str] = (), path: str = "config.json"
) -> Model:
    """The spec that a config.json implies; every key is read, bookkeeping, or in `ignore`.

    Raises SpecError in one line that begins with `path`.
    """
    if "model_type" not in config:
        raise SpecError(f"{path}: the key model_type is missing; known: {', '.join(known())}")
    reader = Config(config, path)
    try:
        model: Model = family(config["model_type"]).spec(reader)
        reader.finish(ignore)
    except SpecError as error:
        text = str(error)
        raise SpecError(text if text.startswith(path) else f"{path}: {text}") from None
    return model
