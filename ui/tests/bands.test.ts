import { expect, test } from "vitest";
import type { Cache } from "../src/data/run.ts";
import { account, added, bands, held, spare, sum } from "../src/parts/bands.ts";

const layers = [{ kind: "window" as const }, { kind: "gqa" as const }, { kind: "window" as const }, { kind: "mamba" as const }];

function cache(tokens: number, used: number[]): Cache {
  return { tokens, used, allocated: [64, 100, 64, 8], predicted: used, process: 1000 + tokens, capacity: 10 };
}

test("layers that remember alike are one band", () => {
  expect(bands(layers)).toEqual([
    { name: "a window", layers: [0, 2] },
    { name: "all tokens", layers: [1] },
    { name: "fixed", layers: [3] },
  ]);
});

test("a full window adds nothing, full attention goes on", () => {
  const caches = [cache(4, [64, 40, 64, 8]), cache(5, [64, 50, 64, 8])];
  const [window, whole, fixed] = bands(layers);
  expect([window, whole, fixed].map((one) => added(caches, 1, one!))).toEqual([0, 10, 0]);
  expect(added(caches, 0, whole!)).toBe(40);
});

test("the account is of sums, and says why more is allocated than used", () => {
  const found = account([cache(4, [64, 40, 64, 8]), cache(5, [64, 50, 64, 8])], 1, layers);
  expect(found.used.value).toBe(186);
  expect(found.allocated.value).toBe(236);
  expect(found.allocated.note).toContain("room for 10 tokens");
  expect(found.process.value).toBe(1);
  expect(sum([1, 2, 3], [0, 2])).toBe(4);
});

test("a scan has a second place, and that is why it takes twice as much", () => {
  const scans = [{ kind: "mamba" as const }, { kind: "gqa" as const }];
  const now = { ...cache(5, [8, 50]), allocated: [16, 50] };
  expect(spare(now, scans)).toMatch(/^what is fixed has a second place/);
  expect(spare({ ...now, allocated: [16, 100] }, scans)).toMatch(/^room for 10 tokens .*; what is fixed/);
  expect(spare({ ...now, allocated: [8, 50] }, scans)).toBeNull();
});

test("what a band holds is measured, and beside it stands what the spec says", () => {
  const now = { ...cache(5, [64, 50, 60, 8]), predicted: [64, 50, 64, 8] };
  const { used, predicted } = held(now, bands(layers)[0]!);
  expect([used.value, used.kind, predicted.value, predicted.kind]).toEqual([124, "measured", 128, "computed"]);
});
