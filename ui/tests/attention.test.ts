import { expect, test } from "vitest";
import type { BranchInfo, Num, SpecInfo } from "../src/data/types.ts";
import { representatives, sees } from "../src/numbers/masks.ts";
import { attending, chosenOf, maskOf, placeIn } from "../src/parts/attending.ts";
import { columns, nucleus, poolOf, range, ranked, seesColumn, total, unseen, unseenOf } from "../src/views/attention/nucleus.ts";
import { wanted } from "../src/views/embedding/wanted.ts";

test("the fewest keys that carry a share, the heaviest first", () => {
  const row = [0.5, 0.05, 0.3, 0.15];
  expect(ranked(row)).toEqual([0, 2, 3, 1]);
  expect([...nucleus(row, 0.5)]).toEqual([0]);
  expect([...nucleus(row, 0.51)]).toEqual([0, 2]);
  expect([...nucleus(row, 0.9)]).toEqual([0, 2, 3]);
  expect(nucleus(row, 1).size).toBe(4);
});

test("keys that carry nothing are never among them, and shares are of what the row has", () => {
  expect([...nucleus([0, 0.2, 0], 1)]).toEqual([1]);
  // A sink took half: the share is of the rest.
  expect([...nucleus([0.1, 0.4], 0.8)]).toEqual([1]);
  expect(total([0.1, 0.4])).toBeCloseTo(0.5);
  expect(nucleus([], 0.9).size).toBe(0);
});

test("float32 sums that miss a share by a rounding do not cost a key", () => {
  const row = Float32Array.from(Array(10).fill(0.1));
  expect(nucleus(row, 0.9).size).toBe(9);
});

test("long texts are pooled just enough", () => {
  expect([1, 1024, 1025, 2048, 2049, 8192].map(poolOf)).toEqual([1, 1, 2, 2, 3, 8]);
});

test("cells without a seen pair are those of no query that sees a key", () => {
  const tokens = 23;
  for (const mask of [
    { kind: "causal" },
    { kind: "sliding", left: 4, right: 0 },
    { kind: "chunked", size: 6 },
    { kind: "grouped", sizes: [5, 2] },
    { kind: "prefix", length: 7 },
  ] as const) {
    const plain = unseen(mask as never, tokens);
    const pooled = unseen(mask as never, tokens, 4);
    const small = unseenOf(mask as never, tokens, 10);
    const none = (rows: [number, number], cols: [number, number]) => {
      for (let q = rows[0]; q <= rows[1]; q++)
        for (let k = cols[0]; k <= cols[1]; k++) if (sees(mask as never, q, k, tokens)) return false;
      return true;
    };
    for (let r = 0; r < tokens; r++) for (let c = 0; c < tokens; c++) expect(plain(r, c)).toBe(none([r, r], [c, c]));
    const part = (cell: number): [number, number] => [4 * cell, Math.min(4 * cell + 3, tokens - 1)];
    for (let r = 0; r < 6; r++) for (let c = 0; c < 6; c++) expect(pooled(r, c)).toBe(none(part(r), part(c)));
    for (let r = 0; r < 10; r++)
      for (let c = 0; c < 10; c++) expect(small(r, c)).toBe(none(range(r, 10, tokens), range(c, 10, tokens)));
  }
});

test("columns of representatives are level by level, and seen as the mask says", () => {
  const mask = { kind: "grouped", sizes: [4, 2] } as never;
  const all = columns(mask, 19);
  expect(all.map((one) => [one.level, one.first, one.last])).toEqual([
    [1, 0, 3], [1, 4, 7], [1, 8, 11], [1, 12, 15], [2, 0, 7], [2, 8, 15],
  ]);
  for (let query = 0; query < 19; query++) {
    const seen = seesColumn(mask, query, 19);
    expect(all.filter(seen).length).toBe(representatives(mask, query, 19).length);
  }
  expect(columns({ kind: "causal" }, 19)).toEqual([]);
});

test("the layer that is shown attends, and has the head that is shown", () => {
  const num: Num = { value: 0, unit: "", kind: "computed" };
  const branch = (kind: BranchInfo["kind"], heads: number): BranchInfo =>
    ({ path: kind, name: kind, kind, heads, mask: null, params: num }) as unknown as BranchInfo;
  const layer = (index: number, ...branches: BranchInfo[]) => ({ index, label: "", branches });
  const layers = [
    layer(0, branch("mamba", 1)),
    layer(1, branch("gqa", 6), branch("mlp", 0)),
    layer(2, branch("mamba", 1)),
    layer(3, branch("latent", 2)),
  ];
  const list = attending({ stacks: [{ layers }] } as unknown as SpecInfo);
  expect(list.map((one) => one.layer)).toEqual([1, 3]);
  const at = (layer: number, head: number) => {
    const found = chosenOf(list, layer, head);
    return [found.layer, found.head];
  };
  expect([at(0, 9), at(1, 4), at(2, 4), at(9, -1)]).toEqual([[1, 5], [1, 4], [3, 1], [3, 0]]);
  expect(maskOf(list[0]!.branch)).toEqual({ kind: "causal" });
  expect(attending({ stacks: [{ layers: [layers[0]!] }] } as unknown as SpecInfo)).toEqual([]);
});

test("a place below zero is counted from the end", () => {
  expect([placeIn(-1, 5), placeIn(7, 5), placeIn(-9, 5), placeIn(2, 5), placeIn(-1, 0)]).toEqual([4, 4, 0, 2, 0]);
});

test("neighbours are asked of a token of the text, of an id walked to, or of what was typed", () => {
  const token = { id: 7, text: "the" };
  expect([wanted("", token), wanted("#12", token), wanted("cat", token), wanted("#x", token)]).toEqual([7, 12, "cat", "#x"]);
  expect(wanted("", undefined)).toBe(null);
});
