"""Spec -> Module: allocation, filling, and the canonical view of what is held."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from girih.kernels.packed import Packed
from girih.nn import (
    attention,
    cross,
    deltanet,
    experts,
    grouped,
    inputs,
    latent,
    mamba,
    mamba2,
    mlp,
    norm,
    reverse,
    stack,
    state_space,
)
from girih.nn.registry import Place, made
from girih.nn.weight import Weight
from girih.plan import Plan, plan_of
from girih.spec import Model as Spec

MODULES = (
    *(attention, cross, deltanet, experts, grouped, inputs, latent, mamba, mamba2, mlp, norm),
    *(reverse, stack, state_space),
)
"""Imported for what they register."""


def build(spec: Spec, plan: str | Plan = "exact", *, seed: int = 0) -> nn.Module:
    """The module of a spec with random weights (scaled normal; norms at one, biases at zero).

    What must begin otherwise is set by `begin(generator)` of its own module. Parameters are
    float32; `plan` says in what dtype they are used.
    """
    model = allocate(spec, plan_of(plan), "cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.dim() == 1 or name.endswith("bias"):
                value.fill_(0.0 if name.endswith("bias") else 1.0)
            else:
                value.normal_(0.0, 1 / math.sqrt(value.shape[-1]), generator=generator)
        for module in model.modules():
            if hasattr(module, "begin"):
                module.begin(generator)
    return model


def allocate(spec: Spec, plan: Plan, device: str) -> nn.Module:
    """The module of a spec with memory but no values; on "meta" without memory too."""
    with torch.device(device):
        return made(spec, Place(dim=0, path="", plan=plan))


def prepared(model: nn.Module) -> Iterator[Packed]:
    """Bring the weights into the order that the backends want; those of which there is a copy."""
    for module in model.modules():
        if hasattr(module, "products"):
            for products in module.products().values():
                yield from products.prepare()
        if hasattr(module, "mixture"):
            yield from module.mixture.prepare()


def canonical(model: nn.Module) -> dict[str, Tensor | Packed]:
    """Every weight that a module holds, plain or packed, by its canonical name."""
    out: dict[str, Tensor | Packed] = {}
    for path, module in model.named_modules():
        here = canonical_path(path)
        if isinstance(module, Weight) and module.packed is not None:
            out[f"{here}.weight"] = module.packed
        for name, value in module.named_parameters(recurse=False):
            out[f"{here}.{name}"] = value
    return out


def canonical_path(path: str) -> str:
    """A module's path without the segment between a branch and its mixer."""
    return path.replace(".mixer", "")


def fill(model: nn.Module, weights: Iterable[tuple[str, Tensor | Packed]], device: str) -> None:
    """Put weights into a module under their canonical names.

    Matrices that are plain take the compute dtype of a fast plan; in an exact plan they stay as
    they are stored and are widened for each product. What no product is made with stays as it is
    stored: vectors, and what else a mixer holds itself. Blocks stay packed, but for a fast plan on
    another device than the processor: no kernel multiplies with them there yet, and to widen them
    for each product would take most of the time.
    """
    owners = {canonical_path(path): module for path, module in model.named_modules()}
    plan: Plan = model.plan  # type: ignore[assignment]
    fast = getattr(torch, plan.compute) if plan.mode == "fast" else None
    for name, value in weights:
        path, _, leaf = name.rpartition(".")
        owner = owners[path]
        stays = fast is None or torch.device(device).type in ("cpu", "meta")
        matrix = isinstance(value, Packed) and len(value.shape) > 1 and isinstance(owner, Weight)
        if isinstance(value, Packed) and matrix and stays:
            owner.pack(value.to(device))
            continue
        plain = value.to(device).unpack() if isinstance(value, Packed) else value
        rounds = isinstance(owner, Weight) and leaf == "weight"
        plain = plain.to(device, fast if fast and rounds else None)
        setattr(owner, leaf, nn.Parameter(plain, requires_grad=False))
