"""What the explorer keeps and in what order it works: runs, loaded models, jobs, lines to send."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from explored import served, tiny
from girih.explore.channel import Channel
from girih.explore.desk import Desk
from girih.explore.refusal import Refusal
from girih.explore.runs import Runs
from girih.explore.shelf import Shelf
from girih.explore.worker import Gone, Worker


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    mixers = {"attention": "attention", "mamba": "mamba", "latent": "latent(8)"}
    return Desk([str(tiny(folder / name, mixer)) for name, mixer in mixers.items()])


@pytest.fixture(scope="module")
def ask(desk):
    with served(desk) as asking:
        yield asking


def test_runs_expire_by_count_the_least_recently_used_first(ask):
    runs = Runs(most=2)
    first, second = runs.add("m", [1], 1), runs.add("m", [2], 1)
    assert runs.get(first.id) is first
    third = runs.add("m", [3], 1)
    assert runs.get(first.id) is first and runs.get(third.id) is third
    with pytest.raises(Refusal, match="expired; read the text again"):
        runs.get(second.id)
    for path in ("/api/run/0123", "/api/tile?run=0123&kind=attn&layer=0"):
        status, said = ask.json("GET", path)
        assert status == 404 and "expired" in said["error"]


def test_what_was_taken_expires_by_bytes_and_with_its_model():
    runs = Runs(limit=100)
    kept = [runs.add(model, [1], 1) for model in ("a", "b", "a")]
    for run in kept:
        runs.look(run, lambda: SimpleNamespace(bytes=40))
    runs.tidy(kept[2])
    assert [run.bytes for run in kept] == [0, 40, 40]
    runs.forget("a")
    assert [run.bytes for run in kept] == [0, 40, 0]
    runs.look(kept[0], lambda: SimpleNamespace(bytes=1000))
    runs.tidy(kept[0])
    assert [run.bytes for run in kept] == [1000, 0, 0], "the one in use stays"


def test_loaded_models_stay_within_a_limit(desk):
    names = [desk.shelf.entry(id).name for id in ("attention", "mamba", "latent")]
    gone: list[str] = []
    size = desk.shelf.entry("attention").bytes
    shelf = Shelf(names, limit=3 * size, gone=gone.append)
    for id in ("attention", "mamba", "attention", "latent"):
        shelf.model(id)
    assert gone == ["mamba"] and shelf.entry("mamba").status == "idle"
    assert shelf.loaded("attention") and shelf.loaded("latent") and not shelf.loaded("mamba")


def test_jobs_are_done_in_order_and_those_nobody_waits_for_never():
    worker, done, stop = Worker(), [], threading.Event()
    hold = threading.Event()
    first = worker.submit(lambda stop: (hold.wait(20), done.append(1)), threading.Event())
    second = worker.submit(lambda stop: done.append(2), stop)
    third = worker.submit(lambda stop: done.append(3), threading.Event())
    stop.set()
    hold.set()
    third.result(20)
    assert done == [1, 3] and first.done()
    with pytest.raises(Gone):
        second.result(20)
    fails = worker.submit(lambda stop: 1 / 0, threading.Event())
    with pytest.raises(ZeroDivisionError):
        fails.result(20)
    worker.close(20)
    with pytest.raises(Gone):
        worker.submit(lambda stop: None, threading.Event()).result(20)
    assert not worker.thread.is_alive() and not worker.busy


def test_who_reads_slowly_makes_the_model_wait_and_who_leaves_ends_it():
    stop, sent = threading.Event(), []

    def write(channel):
        for number in range(9):
            channel.put(b"%d" % number)
            sent.append(number)

    async def reading():
        channel = Channel(stop, room=2)
        job = asyncio.get_running_loop().run_in_executor(None, write, channel)
        lines = channel.read(left=lambda: None)
        first = [await anext(lines) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert first == [b"0", b"1", b"2"] and len(sent) <= 5
        await lines.aclose()
        with pytest.raises(Gone):
            await job

    asyncio.run(reading())
    assert stop.is_set() and len(sent) <= 5
