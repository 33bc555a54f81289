import { expect, test } from "vitest";
import { found } from "../scripts/plugin.ts";
import { compile } from "../scripts/compile.ts";
import { alike, folded, indexed, search } from "../src/reference/search.ts";
import { pieces } from "../src/reference/text.tsx";

const { pages, known } = found(`${import.meta.dirname}/..`);
const { entries } = compile(pages, known);
const index = indexed(entries);
const ids = (asked: string) => search(index, asked).map((one) => one.id);

test("words are compared without case, accents and signs", () => {
  expect(folded("Débruitage, KV-Cache!")).toBe("debruitage kv cache");
});

test("nothing asked is all, in their order", () => {
  expect(search(index, "  ")).toEqual(entries);
});

test.each([
  ["kv cache", "kv-cache"],
  ["KV", "kv-cache"],
  ["rotary", "rope"],
  ["yarn", "rope"],
  ["moe", "mixture-of-experts"],
  ["mha", "multi-head-attention"],
  ["SWA", "sliding-window-attention"],
  ["alibi", "positional-encoding"],
  ["selective scan", "mamba"],
  ["json-rpc", "mcp"],
  ["difusion", "diffusion"],
  ["transfomer", "transformer"],
  ["atention", "attention"],
])("%s is found first as %s", (asked, id) => {
  expect(ids(asked)[0]).toBe(id);
});

test("each word narrows what is found", () => {
  const one = ids("attention");
  const two = ids("attention latent");
  expect(two.length).toBeLessThan(one.length);
  expect(two[0]).toBe("mla");
  expect(one).toEqual(expect.arrayContaining(two));
});

test("what is nowhere is not found", () => {
  expect(ids("zebra")).toEqual([]);
  expect(ids("attention zebra")).toEqual([]);
});

test("spelling shares runs of three letters", () => {
  expect(alike("rope", "rope")).toBe(1);
  expect(alike("diffusion", "difusion")).toBeGreaterThan(0.6);
  expect(alike("rope", "mamba")).toBe(0);
});

test("a text is cut into words, code and names of entries", () => {
  expect(pieces("In [[rope|RoPE]] `theta` of a [[kv-cache]].")).toEqual([
    { text: "In ", as: "text" },
    { text: "RoPE", as: "entry", id: "rope" },
    { text: " ", as: "text" },
    { text: "theta", as: "code" },
    { text: " of a ", as: "text" },
    { text: "kv cache", as: "entry", id: "kv-cache" },
    { text: ".", as: "text" },
  ]);
});
