"""A girih folder with what is needed to go on exactly where learning was left.

Weights and the optimiser's numbers lie in files that carry the step in their names; the index of
the weights, replaced last and at once, says which count: until then the files before it do.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from girih.checkpoints.convert import write_json
from girih.checkpoints.errors import FormatError
from girih.checkpoints.folder import INDEX, read_json
from girih.checkpoints.mapped import map_tensor, tensor_pieces
from girih.checkpoints.safetensors import Outgoing, read_safetensors, write_safetensors
from girih.nn.build import canonical

NOTES = "girih.training"
"""The key of the metadata under which everything that is no tensor stands, as JSON."""


def save(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, notes: Mapping[str, Any]
) -> None:
    """Write all of it, with `notes` (its "step" among them); on any error the last one stays."""
    step = notes["step"]
    weights, training = f"model-{step:08}.safetensors", f"training-{step:08}.safetensors"
    held = {name: value for name, value in canonical(model).items() if isinstance(value, Tensor)}
    places = {id(value): name for name, value in held.items()}
    more = {"rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        more["rng.cuda"] = torch.cuda.get_rng_state()
    for value, kept in optimiser.state.items():
        more |= {f"{key}.{places[id(value)]}": one for key, one in kept.items()}
    try:
        write_safetensors(folder / weights, map(outgoing, held.items()))
        write_safetensors(
            folder / training, map(outgoing, more.items()), {NOTES: json.dumps(notes)}
        )
        part = folder / f".{INDEX}.part"
        write_json(part, {"weight_map": dict.fromkeys(sorted(held), weights)})
        os.replace(part, folder / INDEX)
    except OSError as error:
        text = f"{error.strerror}; the last checkpoint that was whole is kept"
        raise OSError(error.errno, text, str(folder)) from None
    forget(folder, keep=(weights, training))


def outgoing(item: tuple[str, Tensor]) -> Outgoing:
    """A tensor for the writer."""
    name, value = item
    form = str(value.dtype).removeprefix("torch.")
    return Outgoing(name, form, tuple(value.shape), partial(tensor_pieces, value))


def forget(folder: Path, keep: Iterable[str]) -> None:
    """Remove the files of other steps."""
    for path in folder.iterdir():
        if re.fullmatch(r"(model|training)-\d+\.safetensors", path.name) and path.name not in keep:
            path.unlink(missing_ok=True)


def training_file(folder: Path) -> Path:
    """The file of the last checkpoint that was whole; raises FormatError where there is none."""
    index = folder / INDEX
    places = read_json(index).get("weight_map") if index.is_file() else None
    found = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
    if len(found) != 1 or not re.fullmatch(r"model-\d+\.safetensors", found[0]):
        raise FormatError(f"{folder}: no checkpoint of a training, so nothing to resume")
    return folder / found[0].replace("model", "training", 1)


def read_notes(folder: Path) -> dict[str, Any]:
    """What was noted with the last checkpoint."""
    path = training_file(folder)
    text = read_safetensors(path).metadata.get(NOTES, "")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or type(found.get("step")) is not int:
        raise FormatError(f"{path}: without {NOTES}, so nothing to resume")
    return found


def restore(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Put the optimiser and the generators of random numbers where they were."""
    path = training_file(folder)
    values = {name: map_tensor(one) for name, one in read_safetensors(path).tensors.items()}
    names = {name: value for name, value in canonical(model).items() if isinstance(value, Tensor)}
    for key, one in values.items():
        kind, _, name = key.partition(".")
        if name in names and isinstance(one, Tensor):
            value = names[name]
            if one.shape not in (value.shape, ()):
                raise FormatError(f"{path}: {key} is of another shape than {name}")
            optimiser.state[value][kind] = one.to(value.device, copy=True)
    torch.set_rng_state(values["rng"].clone())
    if torch.cuda.is_available() and "rng.cuda" in values:
        torch.cuda.set_rng_state(values["rng.cuda"].clone())
