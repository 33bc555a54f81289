"""Tokens guessed ahead, from the command line: the same text, and how many were right."""

import json
import re

import pytest

import girih
from command import fails
from command import girih as command
from girih.cli import options
from girih.cli.main import main

ASKED = "Repeat this three times: the cat sat on the mat, and the dog sat on the cat."


def test_run_says_the_same_and_tells_how_many_guesses_were_right():
    words = ("--max-tokens", "40", "--json")
    usual, lookup = (
        command("run", "sample", ASKED, *words, *more)
        for more in ((), ("--speculate", "lookup", "--speculate-tokens", "5", "--stats"))
    )
    assert usual.returncode == lookup.returncode == 0, lookup.stderr
    one, other = json.loads(usual.stdout), json.loads(lookup.stdout)
    assert one["tokens"] == other["tokens"]
    assert one["proposed_tokens"] == one["accepted_tokens"] == 0 and one["tokens_per_step"] == 1.0
    right, made = other["accepted_tokens"], other["proposed_tokens"]
    assert 0 < right < made and other["tokens_per_step"] > 1.2
    assert f"{right} of {made} guesses right" in lookup.stderr
    assert re.search(r"\d\.\d\d tokens a step", lookup.stderr)


def test_chat_with_a_draft_answers_the_same_and_reads_on():
    said = "Say OK.\nSay it again.\n"
    words = ("chat", "sample", "--max-tokens", "5")
    usual = command(*words, stdin=said)
    drafted = command(*words, "--speculate", "sample", "--stats", stdin=said)
    assert drafted.returncode == 0 and drafted.stdout == usual.stdout
    first, second = drafted.stderr.splitlines()
    assert "guesses right" in first and "cached" in second


def test_the_number_is_the_engine_s():
    assert girih.PromptLookup().most == options.AHEAD


def test_what_cannot_be_asked_for_is_one_line():
    fails(command("run", "sample", "x", "--speculate-tokens", "3"), "needs --speculate")
    fails(command("chat", "sample", "--speculate", "nothere"), "nothere")


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_less_than_one_token_is_wrong_usage(count, capfd):
    assert main(["run", "sample", "x", "--speculate", "lookup", "--speculate-tokens", count]) == 2
    assert "is not a whole number from 1 on" in capfd.readouterr().err
