"""Chat in a browser: its text and its probabilities are the engine's, by keys alone."""

import pytest
from looking import read
from playwright.sync_api import expect

PROMPT = "It is a truth that"
FIELD = "Text to go on with"
MOST = 16


def said(page) -> str:
    """What has been written, with the marks of spaces taken back."""
    text = "".join(page.locator(".answer .token").all_text_contents())
    return text.replace("·", " ").replace("↵", "\n").replace("→", "\t").replace("∅", "")


def ended(page):
    """Wait until the answer is there."""
    expect(page.locator(".answer .ended")).to_contain_text("As many tokens as asked for")


def greedy(engine):
    """The engine's own answer."""
    options = dict(max_tokens=MOST, temperature=0, logprobs=10)
    return engine("tiny-gqa").generate(PROMPT, **options)[0]


@pytest.fixture
def answered(opened):
    """The page after a greedy answer."""
    page = opened(f"v=chat&m=tiny-gqa&mx={MOST}")
    read(page, PROMPT, FIELD)
    ended(page)
    return page


def test_the_text_is_the_engines(answered, engine):
    assert said(answered) == greedy(engine).text
    assert answered.locator(".answer .token").count() == MOST
    columns = answered.locator(".ledger-field").get_attribute("data-columns")
    assert columns == str(MOST), "the ledger grew with each token"
    tokens = len(engine("tiny-gqa").tokenizer.encode(PROMPT))
    expect(answered.locator(".ledger .said")).to_contain_text(f"after {tokens + MOST - 1} tokens")


def test_what_else_it_thought_of(answered, engine):
    model = engine("tiny-gqa")
    ids = [*model.tokenizer.encode(PROMPT), *greedy(engine).tokens]
    logits = model.logits([ids])[0].float().log_softmax(-1).exp()
    answered.get_by_role("listbox", name="tokens").focus()
    before = len(ids) - MOST
    for at in range(3):
        heading = f"In place of token {at + 1}"
        answered.get_by_role("heading", name=heading, exact=True).wait_for()
        best = logits[before + at - 1].topk(10)
        shown = answered.locator(".choices button[data-value]")
        values = [float(one.get_attribute("data-value")) for one in shown.all()]
        assert values == pytest.approx([100 * p for p in best.values.tolist()], abs=0.3)
        taken = answered.locator(".choices li.taken button[data-value]").get_attribute("data-value")
        own = logits[before + at - 1, ids[before + at]].item()
        assert float(taken) == pytest.approx(100 * own, abs=0.3)
        answered.keyboard.press("ArrowRight")


def test_a_seed_repeats_and_another_does_not(opened):
    page = opened(f"v=chat&m=tiny-gqa&mx={MOST}")
    page.get_by_label("Temperature").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    expect(page.get_by_label("Temperature")).to_have_attribute("aria-valuetext", "1.00")

    def asked() -> str:
        with page.expect_response("**/api/run"):
            page.get_by_label(FIELD).press("Enter")
        page.wait_for_timeout(1500)  # the last answer's end may still stand there before
        ended(page)
        expect(page.locator(".answer .token")).to_have_count(MOST)
        return said(page)

    first = asked()
    assert asked() == first
    page.get_by_label("Seed").press("ArrowRight")
    other = asked()
    assert other != first
    page.get_by_label("Seed").press("ArrowLeft")
    assert asked() == first


def test_it_stops_and_goes_on(opened):
    page = opened("v=chat&m=tiny-hybrid&mx=512")
    # A slow line, so that a fast machine has not ended before a key can be pressed.
    line = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "uploadThroughput": -1, "downloadThroughput": 20_000}
    line.send("Network.enable")
    line.send("Network.emulateNetworkConditions", slow)
    read(page, PROMPT, FIELD)
    page.locator(".answer .token").nth(2).wait_for()
    page.get_by_role("button", name="Stop").press("Enter")
    expect(page.locator(".answer .ended")).to_contain_text("Stopped.")
    expect(page.get_by_role("button", name="Go on")).to_be_focused()
    assert 3 <= page.locator(".answer .token").count() < 512
    line.send("Network.emulateNetworkConditions", slow | {"downloadThroughput": -1})
    page.get_by_label("Tokens at most").press("Home")
    read(page, PROMPT, FIELD)
    ended(page)
    assert page.locator(".answer .token").count() == 8


def test_a_talk_remembers_what_was_said(opened):
    page = opened("v=chat&m=sample&mx=8")
    for turn, text in enumerate(("Hello", "And you?"), start=1):
        with page.expect_request("**/api/run") as asked:
            read(page, text, "You say")
        roles = [one["role"] for one in asked.value.post_data_json["messages"]]
        assert roles == (["user", "assistant"] * turn)[: 2 * turn - 1]
        expect(page.get_by_role("button", name="Say it")).to_be_enabled()
        page.locator(".answer .ended button").first.wait_for()
    expect(page.locator(".turns li.user")).to_have_count(2)
    page.get_by_role("button", name="Start afresh").press("Enter")
    expect(page.locator(".turns li")).to_have_count(0)


def test_a_prompt_that_is_too_long_is_refused_in_a_line(opened):
    page = opened("v=chat&m=tiny-gqa&mx=8", allow=("400", "422"))
    read(page, "word " * 3000, FIELD)
    expect(page.locator(".failed")).to_contain_text("tokens")
    read(page, PROMPT, FIELD)
    ended(page)
    expect(page.locator(".failed")).to_have_count(0)
