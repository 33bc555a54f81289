/** The page's own numbers against the engine's: vectors.json is written by docs/vectors.py. */

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { BranchInfo, MaskInfo, Num, SpecInfo } from "../src/data/types.ts";
import { FORMATS, keptBy, type StateFormat, stateBytes, totalBytes } from "../src/numbers/kv.ts";
import { pairs, representatives, reach, seen, sees, span, spansOf } from "../src/numbers/masks.ts";
import { inverse, rotate, type Scaling, score, temperature } from "../src/numbers/rope.ts";

interface Vectors {
  masks: { mask: MaskInfo; tokens: number; rows: string[]; pairs: number }[];
  ropes: {
    width: number; theta: number; pairs: "halves" | "interleaved"; scaling: Scaling | null; horizon: number;
    inverse: number[]; vector: number[]; position: number; turned: number[];
  }[];
  states: {
    name: string; sources: number; tokens: number[]; bytes: Record<StateFormat, number[]>;
    stacks: { layers: { branches: Partial<BranchInfo>[] }[] }[];
  }[];
}

const vectors = JSON.parse(readFileSync(new URL("../vectors.json", import.meta.url), "utf8")) as Vectors;

/** The value of a number's formula with its inputs in place of their names. */
function formula(num: Num): number {
  const names = Object.keys(num.inputs ?? {});
  const body = num.expr!.replaceAll(/\b(max|min|ceil)\(/g, "Math.$1(");
  return new Function(...names, `return ${body}`)(...names.map((name) => num.inputs![name])) as number;
}

/** The columns that a token sees: tokens, then representatives level by level. */
function columns(mask: MaskInfo, query: number, tokens: number): Set<number> {
  const { first, last } = span(mask, query, tokens);
  const found = new Set(Array.from({ length: last - first + 1 }, (_, at) => first + at));
  if (mask.kind !== "grouped") return found;
  const made = spansOf(mask).map((size) => (mask.ahead ? Math.ceil(tokens / size) : Math.floor(tokens / size)));
  for (const { level, window } of representatives(mask, query, tokens)) {
    const before = made.slice(0, level - 1).reduce((sum, one) => sum + one, tokens);
    found.add(before + window);
  }
  return found;
}

test("there are vectors of every kind", () => {
  const kinds = new Set(vectors.masks.map((one) => one.mask.kind));
  expect([...kinds].sort()).toEqual(["causal", "chunked", "full", "grouped", "prefix", "sliding"]);
  expect(vectors.ropes.length).toBeGreaterThan(15);
  expect(vectors.states.length).toBeGreaterThan(12);
});

test.each(vectors.masks)("$mask sees what the engine's sees, of $tokens tokens", ({ mask, tokens, rows, pairs: all }) => {
  rows.forEach((row, query) => {
    const mine = columns(mask, query, tokens);
    expect([...row].map((_, key) => (mine.has(key) ? "1" : "0")).join("")).toBe(row);
    for (let key = 0; key < tokens; key++) expect(sees(mask, query, key, tokens)).toBe(row[key] === "1");
    const count = seen(mask, query, tokens);
    expect(count.value).toBe([...row].filter((one) => one === "1").length);
    expect(formula(count)).toBe(count.value);
  });
  expect(pairs(mask, tokens)).toBe(all);
});

test.each(vectors.masks)("what reaches a token through two layers of $mask, of $tokens", ({ mask, tokens, rows }) => {
  if (mask.kind === "grouped") return; // its representatives stand for tokens of their own windows
  rows.forEach((row, query) => {
    const within = [...row].flatMap((one, key) => (one === "1" ? [...rows[key]!].flatMap((two, far) => (two === "1" ? [far] : [])) : []));
    const found = reach([mask, mask], query, tokens);
    expect([found.first, found.last]).toEqual([Math.min(...within), Math.max(...within)]);
  });
});

test.each(vectors.ropes)("$scaling turns as the engine does, of $horizon tokens", (one) => {
  const angles = inverse(one.width, one.theta, one.scaling, one.horizon);
  expect(angles).toHaveLength(one.inverse.length);
  angles.forEach((angle, pair) => expect(angle).toBeCloseTo(one.inverse[pair]!, 6));
  const heat = temperature(one.scaling);
  const turned = rotate(one.vector, one.position, angles, one.pairs);
  turned.forEach((value, at) => {
    const wanted = at < one.width ? one.turned[at]! / heat : one.turned[at]!;
    expect(value).toBeCloseTo(wanted, 4);
  });
});

test("a score is of the distance alone", () => {
  for (const one of vectors.ropes) {
    const rope = { inverse: inverse(one.width, one.theta, one.scaling, one.horizon), pairs: one.pairs };
    const key = [...one.vector].reverse();
    const near = score(one.vector, key, { query: 9, key: 4 }, rope, 0.5);
    const far = score(one.vector, key, { query: 109, key: 104 }, rope, 0.5);
    expect(far.value).toBeCloseTo(near.value, 8);
    expect(formula(near)).toBeCloseTo(near.value, 12);
    expect(score(one.vector, key, { query: 9, key: 5 }, rope, 0.5).value).not.toBeCloseTo(near.value, 3);
  }
});

const uses = vectors.states.flatMap((one) => FORMATS.map((format) => ({ ...one, format })));

test.each(uses)("$name in $format is as large as the engine says", ({ stacks, sources, tokens, bytes, format }) => {
  const kept = keptBy({ stacks } as unknown as SpecInfo);
  tokens.forEach((count, at) => {
    for (const batch of [1, 3]) {
      const use = { tokens: count, batch, format, sources };
      const total = totalBytes(kept, use);
      expect(total.value).toBe(batch * bytes[format]![at]!);
      expect(formula(total)).toBeCloseTo(total.value, 6);
      for (const part of kept) expect(formula(stateBytes(part, use))).toBeCloseTo(stateBytes(part, use).value, 6);
    }
  });
});
