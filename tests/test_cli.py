"""The real commands in their own processes: what they print, how they fail, what they load."""

import json
import shlex
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import sample
from command import COMMAND, ENV, Terminal, fails, girih, interrupted
from girih.cli.main import COMMANDS, parser_for


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_each_of_them_parses(name: str) -> None:
    module = parser_for([name])[1]
    assert module is not None
    lines = [line for line in module.EXAMPLES.splitlines() if line.startswith("  ")]
    assert len(lines) >= 3
    for line in lines:
        words = shlex.split(line.split("|")[-1])
        assert words[:2] == ["girih", name]
        parser_for(words[1:])[0].parse_args(words[1:])


def test_help_is_printed() -> None:
    done = girih("run", "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "examples:" in done.stdout and "--repetition-penalty" in done.stdout
    done = girih()
    assert done.returncode == 2 and done.stdout == "" and "girih show sample" in done.stderr


@pytest.mark.parametrize("given", ["", "77"])
def test_threads_soon_sleep_while_they_wait_unless_told_otherwise(given: str) -> None:
    code = "import os, girih; print(os.environ['GOMP_SPINCOUNT'])"
    env = {name: value for name, value in ENV.items() if name != "GOMP_SPINCOUNT"}
    env |= {"GOMP_SPINCOUNT": given} if given else {}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.stdout == f"{given or '10000'}\n", done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "shw sample",
        "show",
        "show sample --context 0",
        "show sample --batch x",
        "run sample",
        "run sample hello --max-tokens 0",
        "run sample hello --top-p 1.5",
        "run sample hello --temperature nan",
        "run sample hello --mode slow",
        "convert sample folder --to onnx",
        "chat sample --nonsense",
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(line: str, capfd) -> None:
    from girih.cli.main import main

    assert main(line.split()) == 2
    out, err = capfd.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and "--help" in err


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("shw sample", "girih: unknown command 'shw'; did you mean show?"),
        ("show sample --contxt 9", "girih show: unknown option '--contxt'; did you mean --context"),
        (
            "run sample hi --temp=1",
            "girih run: unknown option '--temp'; did you mean --temperature",
        ),
        ("convert sample new more", "girih convert: unknown argument 'more'"),
    ],
)
def test_a_slip_is_told_what_was_meant(line: str, meant: str, capfd) -> None:
    from girih.cli.main import main

    assert main(line.split()) == 2
    assert capfd.readouterr().err.startswith(meant)


def test_run_answers_and_tells_programs_what_it_did() -> None:
    words = ("--mode", "exact", "--max-tokens", "9", "--stats", "--json")
    done = girih("run", "sample", "-", *words, stdin="What is the capital of France?\n")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "Paris" in answer["text"] and answer["finish_reason"] in ("stop", "length")
    assert 0 < len(answer["tokens"]) == answer["generated_tokens"] <= 9
    assert answer["prompt_tokens"] > 15 and answer["times"]["decode_s"] > 0
    assert answer["times"]["first_token_s"] >= answer["times"]["prefill_s"] > 0
    assert 100 << 20 < answer["peak_memory_bytes"] < 4 << 30
    assert len(done.stderr.splitlines()) == 1 and "tokens/s" in done.stderr
    assert "first token after" in done.stderr and "iB" in done.stderr


def test_run_raw_completes_the_text_and_stops_before_a_stop_string() -> None:
    words = ("--raw", "--max-tokens", "12", "--stop", " six")
    done = girih("run", "sample", "One, two, three, four,", *words)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", " five,\n")


def test_chat_reads_lines_from_a_pipe_and_forgets_when_told() -> None:
    said = "Say OK.\n/reset\n/what\n/help\nSay OK.\n/exit\nnever read\n"
    done = girih("chat", "sample", "--max-tokens", "3", "--stats", stdin=said)
    assert done.returncode == 0, done.stderr
    first, forgotten, unknown, known, second = done.stdout.splitlines()
    assert first == second != "" and forgotten == "(forgotten)"
    assert "/what" in unknown and "/exit" in unknown and known[1:] in unknown
    counts = [line.split(",")[0] for line in done.stderr.splitlines()]
    assert len(counts) == 2 and counts[0].split(" (")[0] == counts[1].split(" (")[0]


def test_ctrl_c_stops_a_reply_and_keeps_the_chat() -> None:
    words = ("chat", "sample", "--max-tokens", "2000", "--repetition-penalty", "1.3")
    with Terminal(*words) as terminal:
        terminal.until("> ")
        terminal.type("My name is Ada. Write a long story.\n")
        terminal.until("story.")
        terminal.until("the")
        terminal.child.send_signal(signal.SIGINT)
        assert "Traceback" not in terminal.until("(stopped)")
        terminal.until("> ")
        terminal.type("/exit\n")
        assert terminal.child.wait(timeout=20) == 0


def test_a_terminal_shows_progress_and_remarks() -> None:
    with Terminal("chat", "sample", "--max-tokens", "2") as terminal:
        assert "loading sample" in terminal.until("> ")
        terminal.type("/bin/sh is a path. Count to ten.\n")
        said = terminal.until("(cut after 2 tokens; --max-tokens N allows more)")
        assert "unknown command" not in said
        terminal.until("> ")
        terminal.type("\x04")
        assert terminal.child.wait(timeout=20) == 0


def test_ctrl_c_ends_a_run_with_130() -> None:
    words = [*COMMAND, "run", "sample", "Count.", "--raw", "--max-tokens", "5000"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=ENV, stdout=pipe, stderr=pipe, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.read(5)
        assert interrupted(child) == (130, "girih: interrupted\n")


def test_explain_says_what_runs_and_why_others_do_not() -> None:
    done = girih("explain", "sample", "--mode", "exact", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows and all(row["backend"] and row["op"] for row in rows)
    assert all(no["reason"] for row in rows for no in row["refusals"])
    told = girih("explain", "sample", "--mode", "exact", COLUMNS="60").stdout
    assert all(len(line) <= 60 for line in told.splitlines())
    words = " ".join(told.split())
    for row in rows:
        assert row["op"] in words and row["part"] in words
        assert all(f"not {no['backend']}: {no['reason']}" in words for no in row["refusals"])


def test_convert_writes_a_folder_once_and_show_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    done = girih("convert", sample.path(), folder, "--to", "girih")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "written" in done.stdout and "MiB" in done.stdout
    shown = json.loads(girih("show", folder, "--json").stdout)
    assert shown["cost"]["parameters"] == 134_515_008 and shown["kind"] == "girih"
    fails(girih("convert", sample.path(), folder), "new")


def test_a_reader_that_leaves_and_a_full_disk() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([*COMMAND, "show", "sample"], env=ENV, stdout=pipe, stderr=pipe) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.wait(timeout=30) == 1 and child.stderr.read() == b""
    with open("/dev/full", "w") as full:
        for words, said in (
            (["show", "sample"], "girih: No space left on device\n"),
            (["run", "--help"], ""),
        ):
            done = subprocess.run(
                [*COMMAND, *words], env=ENV, stdout=full, stderr=pipe, text=True, timeout=60
            )
            assert (done.returncode, done.stderr) == (1, said)


def broken_inputs(folder: Path) -> list[tuple[str, str]]:
    """What is given as MODEL, and a word that the error must have."""
    head = sample.path().read_bytes()[:100_000]
    (folder / "empty").mkdir()
    (folder / "cut.gguf").write_bytes(head)
    (folder / "future.gguf").write_bytes(head[:4] + struct.pack("<I", 9) + head[8:])
    (folder / "zeros.gguf").write_bytes(bytes(1000))
    (folder / "nothing.gguf").write_bytes(b"")
    for name, config in (
        ("alien", '{"model_type": "alien"}'),
        ("untyped", "{}"),
        ("torn", '{"model_type": '),
        ("list", "[]"),
        ("deep", "[" * 100_000),
        ("packed", '{"model_type": "llama", "quantization_config": {"quant_method": "awq"}}'),
    ):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(config)
    (folder / "torn-spec").mkdir()
    (folder / "torn-spec" / "spec.json").write_text('{"version": 1')
    given = [(str(folder / "missing"), "missing"), ("no-such/model", "no-such/model")]
    given += [
        (str(folder / "packed"), "awq"),
        ("", ""),
        (str(folder), ""),
        ("/dev/null", "/dev/null"),
        ("a\x1b[2Jb", ""),
    ]
    named = ("alien", "untyped", "torn", "list", "deep", "torn-spec", "empty")
    files = ("cut.gguf", "future.gguf", "zeros.gguf", "nothing.gguf")
    return given + [(str(folder / name), name) for name in (*named, *files)]


def test_broken_models_are_one_line_each(tmp_path: Path, capfd) -> None:
    from girih.cli.main import main

    inputs = broken_inputs(tmp_path)
    for given, culprit in inputs:
        code = main(["show", given])
        out, err = capfd.readouterr()
        assert (code, out) == (1, ""), (given, out, err)
        assert len(err.splitlines()) == 1 and culprit in err, (given, err)
        assert "internal error" not in err and "\x1b" not in err, (given, err)
    assert len(inputs) == 18


def test_broken_models_and_prompts_of_a_run(tmp_path: Path) -> None:
    fails(girih("run", tmp_path / "missing", "hello"), "missing")
    fails(girih("run", "sample", "", "--raw"), "prompt", "empty")
    fails(girih("run", "sample", "-", stdin="\n"), "prompt", "empty")
    fails(girih("run", "sample", "-", "--raw", stdin="word " * 9000), "9,001", "8,192")
    fails(girih("run", "sample", "hello", "--device", "toaster"), "toaster")
    fails(girih("show", "sample", "--state", "Q9_9"), "Q9_9")
