"""The spec against what is built from it: names, shapes, JSON, cost."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from girih.kernels import experts
from girih.nn.build import build, canonical
from girih.spec import Work, cost, draw, from_json, graph, to_json
from girih.spec.cost import pool_bytes
from girih.spec.pool import Pool
from girih.state.step import step_of
from girih.state.storage import State
from specs import PURE, SOURCED, SPECS

ALL = SPECS | PURE | SOURCED


@pytest.mark.parametrize("name", ALL)
def test_tensors_are_what_the_module_holds(name):
    spec = ALL[name]
    held = {key: tuple(value.shape) for key, value in canonical(build(spec)).items()}
    assert held == {key: tensor.shape for key, tensor in spec.tensors().items()}
    assert all(len(tensor.shape) == len(tensor.axes) for tensor in spec.tensors().values())


@pytest.mark.parametrize("name", ALL)
def test_json_gives_the_same_spec_back(name):
    spec = ALL[name]
    data = json.loads(json.dumps(to_json(spec)))
    assert from_json(data) == spec
    assert to_json(from_json(data)) == data


@pytest.mark.parametrize("name", ALL)
def test_a_spec_can_be_drawn(name):
    spec = ALL[name]
    total = sum(tensor.numel for tensor in spec.tensors().values())
    boxes = graph(spec)["stacks"][0]
    layers = [run["parameters"] * (run["last"] - run["first"] + 1) for run in boxes["layers"]]
    tables = [table["parameters"] for table in boxes["input"]]
    norm = sum(t.numel for key, t in spec.tensors().items() if key.startswith("decoder.norm."))
    assert sum(layers) + sum(tables) + boxes["head"]["parameters"] + norm == total
    json.dumps(graph(spec))
    assert all(len(line) <= 160 for line in draw(spec))


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_the_sum_of_distinct_tensors(name):
    spec = ALL[name]
    module = build(spec)
    assert cost(spec).parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", SPECS)
def test_predicted_state_is_allocated_state(name):
    spec = SPECS[name]
    for batch, context in ((1, 1), (3, 17)):
        state = State(spec.state(), sequences=batch, capacity=context, dtype=torch.bfloat16)
        pool = Pool(sequences=batch, capacity=context)
        assert state.bytes == pool_bytes(spec, pool, "bfloat16")
        predicted = cost(spec, context=context, batch=batch, state="bfloat16")
        # A step writes what is fixed to another place, and a mark keeps one for each sequence.
        fixed = {memory.data_ptr(): memory for memory in state.fixed.memory.values()}
        spare = sum(memory[batch:].nbytes for memory in fixed.values())
        assert state.bytes - spare == predicted.state_bytes


@pytest.mark.parametrize("name", SPECS | PURE)
def test_predicted_flops_are_counted_flops(name, monkeypatch):
    monkeypatch.setattr(experts, "BLOCK", 1)  # else products are filled up with rows of zeros
    spec = ALL[name]
    module = build(spec)
    with FlopCounterMode(display=False) as counter:
        module(step_of([list(range(11))], logits="last"))
    predicted = spec.flops(Work(tokens=11, context=11, logits=1, dense=True))
    assert counter.get_total_flops() == predicted.total - predicted.scan


@pytest.mark.parametrize("name", SPECS)
def test_predicted_flops_of_a_decode_step(name, monkeypatch):
    monkeypatch.setattr(experts, "BLOCK", 1)
    spec = SPECS[name]
    module = build(spec)
    state = State(spec.state(), sequences=1, capacity=20)
    first = step_of([list(range(11))], state=state)
    module(first)
    state.advance(first)
    with FlopCounterMode(display=False) as counter:
        module(step_of([[5]], state=state))
    # One query sees everything, so counting visible pairs and counting all is the same.
    predicted = spec.flops(Work(tokens=1, context=12))
    assert counter.get_total_flops() == predicted.total - predicted.scan
