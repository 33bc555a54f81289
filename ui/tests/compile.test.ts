import { expect, test } from "vitest";
import { compile, type Known, MOST_BYTES, written } from "../scripts/compile.ts";
import { found } from "../scripts/plugin.ts";

const PAGE = `---
title: Rope
also: rotary
gist: It turns.
lists: glossary
category: Neural network architectures
level: beginner
figure: rope l=2
kinds: mha
code: spec/positions.py
related: rope
---
# beginner
Hands of a clock,
going on.

And a second paragraph about [[rope]].
# intermediate
Pairs.
# advanced
Angles.
# formula
a^2
b
beginner: One.
intermediate: Two.
advanced: Three.
# characteristics
- It \`turns\`. | figure rope l=1
- It is tested. | test test_rotary.py::test_turns
- It was written. | arxiv 2104.09864 Su et al.
- It is explained. | page https://example.org/a A page
# uses
- Order,
  of tokens.
# examples
- RoFormer | 2021 | the first | arxiv 2104.09864 Su et al.
`;

const known: Known = {
  views: ["rope"],
  exists: (path) => path === "src/girih/spec/positions.py",
  tests: (file, name) => file === "test_rotary.py" && name === "test_turns",
};
const made = (text: string) => compile({ "rope.md": text }, known).entries[0]!;

test("a page becomes an entry", () => {
  const { formula, ...entry } = made(PAGE);
  expect(entry).toEqual({
    id: "rope",
    title: "Rope",
    also: ["rotary"],
    gist: "It turns.",
    lists: ["glossary"],
    category: "Neural network architectures",
    level: "beginner",
    text: {
      beginner: "Hands of a clock, going on.\n\nAnd a second paragraph about [[rope]].",
      intermediate: "Pairs.",
      advanced: "Angles.",
    },
    traits: [
      { text: "It `turns`.", link: { to: "figure", view: "rope", with: { l: "1" } } },
      { text: "It is tested.", link: { to: "test", file: "test_rotary.py", name: "test_turns" } },
      { text: "It was written.", link: { to: "arxiv", id: "2104.09864", text: "Su et al." } },
      { text: "It is explained.", link: { to: "page", href: "https://example.org/a", text: "A page" } },
    ],
    uses: ["Order, of tokens."],
    examples: [{ name: "RoFormer", year: 2021, what: "the first", link: { to: "arxiv", id: "2104.09864", text: "Su et al." } }],
    figure: { view: "rope", with: { l: "2" }, kinds: ["mha"] },
    lacking: null,
    code: ["girih/spec/positions.py"],
    related: ["rope"],
  });
  expect(formula!.math.match(/<math/g)).toHaveLength(2);
  expect(formula!.math).toContain("<msup><mi>a</mi><mn>2</mn></msup>");
  expect(formula!.math).not.toMatch(/style|class/);
  expect(formula!.read).toEqual({ beginner: "One.", intermediate: "Two.", advanced: "Three." });
});

test("a root is drawn without a font for mathematics", () => {
  const { formula } = made(PAGE.replace("a^2", () => "\\sqrt{d}"));
  expect(formula!.math).toContain('<mo>√</mo><mrow class="root"><mi>d</mi></mrow>');
  expect(formula!.math).not.toContain("msqrt");
});

test("what is lacking may be without figure, file and examples", () => {
  const bare = PAGE.replace("figure: rope l=2\n", "lacking: girih does not turn yet.\n").replace("code: spec/positions.py\n", "")
    .replace(/# examples[^]*/, "");
  expect(made(bare)).toMatchObject({ figure: null, code: [], examples: [], lacking: "girih does not turn yet." });
});

const WRONG: [what: string, from: string | RegExp, to: string, error: string][] = [
  ["no fields", /^---/, "", "rope.md:1: the first line is not ---"],
  ["an unknown field", "level: beginner", "levle: beginner", "rope.md:7: no field is named levle"],
  ["a field twice", "also: rotary", "title: rotary", "rope.md:3: the field title stands here twice"],
  ["no title", "title: Rope\n", "", "rope.md:1: the field title is missing"],
  ["an unknown level", "level: beginner", "level: easy", "rope.md:7: level: easy is none of beginner, intermediate, advanced"],
  ["an unknown category", "category: Neural network architectures", "category: Other", "rope.md:6: category: Other is none of"],
  ["an unknown list", "lists: glossary", "lists: glossary, decks", "rope.md:5: lists: decks is none of glossary, card"],
  ["an unknown kind", "kinds: mha", "kinds: mhb", "rope.md:9: kinds: mhb is none of mha"],
  ["an unknown view", "figure: rope l=2", "figure: roap", "rope.md:8: no view is named roap"],
  ["half a word of an address", "figure: rope l=2", "figure: rope l", "rope.md:8: not a word of an address (name=value): l"],
  ["no figure", "figure: rope l=2\n", "", "rope.md:1: neither a figure, nor what is lacking for one"],
  ["no such file", "code: spec/positions.py", "code: spec/rope.py", "rope.md:10: code: there is no spec/rope.py"],
  ["no file", "code: spec/positions.py\n", "", "rope.md:1: no file of the package implements it"],
  ["no such related entry", "related: rope", "related: ropes", "rope.md:11: no entry is named ropes"],
  ["no such entry in a text", "[[rope]]", "[[ropes|RoPE]]", "rope.md:13: no entry is named ropes"],
  ["no text for a level", "# advanced\nAngles.\n", "", "rope.md:1: the section advanced is missing or empty"],
  ["an empty text", "Angles.\n", "\n", "rope.md:20: the section advanced is missing or empty"],
  ["an unknown section", "# uses", "# users", "rope.md:33: no section is named users"],
  ["a section of another depth", "# uses", "## uses", "rope.md:33: not a section (# name): ## uses"],
  ["bad LaTeX", "a^2", "\\frac{a", "rope.md:23: formula: "],
  ["an unknown macro", "a^2", "\\nosuch", "rope.md:23: formula: "],
  ["a formula that is not read", "advanced: Three.\n", "", "rope.md:22: formula: nothing for the advanced"],
  ["a test that is none", "test_turns", "test_falls", "rope.md:30: there is no test test_rotary.py::test_falls"],
  ["a characteristic without a link", " | figure rope l=1", "", "rope.md:29: characteristics: 1 parts between | where 2 are meant"],
  ["a link of no kind", "figure rope l=1", "see rope", "rope.md:29: not a link"],
  ["a paper without authors", "- It was written. | arxiv 2104.09864 Su et al.", "- It was written. | arxiv 2104.09864", "rope.md:31: arxiv 2104.09864: whose paper is it?"],
  ["a year that is none", "| 2021 |", "| 21 |", "rope.md:37: examples: 21 is no year"],
  ["code that is not closed", "`turns`", "`turns", "rope.md:29: a ` is not closed"],
  ["text that is no item", "- Order", "Order", "rope.md:34: not an item of a list (- text): Order,"],
];

test.each(WRONG)("%s is refused with its place", (_, from, to, error) => {
  const text = PAGE.replace(from, () => to);
  expect(text).not.toBe(PAGE);
  expect(() => made(text)).toThrow(error);
});

test("a file of another name is refused", () => {
  expect(() => compile({ "Rope.md": PAGE }, known)).toThrow("Rope.md:1: a file is named by small letters");
});

const own = found(`${import.meta.dirname}/..`);

test("the entries compile, in the same bytes whatever the order of files, within their budget", () => {
  const text = written(compile(own.pages, own.known));
  const turned = Object.fromEntries(Object.entries(own.pages).reverse());
  expect(written(compile(turned, own.known))).toBe(text);
  expect(text.length).toBeLessThan(MOST_BYTES);
});

test("what is too large is refused", () => {
  const large = PAGE.replace("Angles.", "Angles ".repeat(20_000));
  expect(() => written({ entries: [made(large)] })).toThrow("at most 100000 fit the page");
});
