"""Each mixer alone, in a model of two layers, learns a task that is made for it."""

import pytest
import torch

from learning import Copying, Recall, Sum, accuracy_after, model

TASKS = {
    # mixer: words, task, steps, sequences of a step, and what the model has besides
    "attention": ("attention", Sum(2, 4, 24), 250, 32, {}),
    "window": ("window(12)", Sum(2, 4, 20), 250, 32, {}),
    "mamba": ("mamba(8)", Copying(4, 3, 12), 200, 24, {}),
    "mamba2": ("mamba2(8)", Copying(4, 3, 12), 220, 24, {}),
    "s4d": ("s4d(8)", Sum(2, 4, 24), 200, 32, {}),
    "deltanet": ("deltanet", Recall(3, 4, 8), 110, 32, {}),
    "kda": ("kda", Recall(3, 4, 8), 110, 32, {}),
    "experts": ("mamba2(16)", Recall(4, 4, 10), 200, 32, dict(hidden=64, experts="4:2")),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Small products gain nothing from several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", TASKS)
def test_it_learns_what_it_is_made_for(name, seed):
    words, task, steps, sequences, more = TASKS[name]
    spec = model(words, task, **({"hidden": 0} | more))
    assert accuracy_after(spec, task, seed, steps, sequences=sequences) >= 0.95


@pytest.mark.parametrize("task", [Recall(), Copying(), Sum()], ids=lambda task: type(task).__name__)
def test_a_task_has_one_answer_and_no_cheap_one(task):
    """What is asked follows from the rest, and the commonest answer is no better than most."""
    ids, asked = task.drawn(400, torch.Generator().manual_seed(1))
    assert ids.shape == asked.shape and ids.min() >= 0 and ids.max() < task.vocab
    answers = ids[asked]
    assert answers.bincount().max() / len(answers) < 0.4 and len(answers) >= 400
    again = torch.equal(ids, task.drawn(400, torch.Generator().manual_seed(2))[0])
    assert not again
    for row, where in zip(ids.tolist(), asked.tolist(), strict=True):
        for place in (place for place, wanted in enumerate(where) if wanted):
            assert row[place] == solved(task, row, place)


def solved(task, row, place):
    """The answer, from what stands before it."""
    before = row[:place]
    if isinstance(task, Recall):
        keys, values = before[:-1:2], before[1::2]
        return dict(zip(keys, values, strict=True))[before[-1]]
    if isinstance(task, Copying):
        words = [one for one in before[: task.length] if one < task.words]
        return words[place - task.length - 1]
    return sum(before[: task.length]) + task.digits + 1


def test_what_cannot_remember_cannot_recall():
    """Windows of one token see nothing of what is asked: the score is of what was learned."""
    task = Recall(4, 4, 8)
    assert accuracy_after(model("window(1)", task, hidden=0), task, 0, 60) < 0.6
