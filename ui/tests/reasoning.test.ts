import { expect, test } from "vitest";
import type { SpecInfo } from "../src/data/types.ts";
import { computed } from "../src/numbers/format.ts";
import { keptBy } from "../src/numbers/kv.ts";
import { growth, spans } from "../src/views/reasoning/price.ts";

const byte = (value: number) => computed(value, "B", "", {});

/** A model of one global layer and one window of 10 tokens; 2 kept heads of 4, 16 bits: 32 bytes a token each. */
const branch = { kind: "gqa", heads: 4, kv_heads: 2, head_dim: 4, value_dim: 4, latent: null, fixed: byte(0), per_token: byte(32) };
const layers = [
  { branches: [{ ...branch, mask: { kind: "causal" }, window: null }] },
  { branches: [{ ...branch, kind: "window", mask: { kind: "sliding", left: 9, right: 0 }, window: 10 }] },
];
const spec = { stacks: [{ layers }] } as unknown as SpecInfo;
const speed = { prefill: null, decode: { value: 25, unit: "tokens/s", kind: "measured" } } as const;

test("each span ends with what is remembered then", () => {
  const all = spans(spec, [["prompt", 5], ["thinking", 100], ["answer", 20]], speed);
  expect(all.map((one) => one.held.value)).toEqual([32 * 10, 32 * (105 + 10), 32 * (125 + 10)]);
  expect(all.map((one) => one.time?.value)).toEqual([undefined, 4, 0.8]);
  expect(all[1]!.time!.note).toContain("measured on this machine");
});

test("the prompt takes its time where its speed is known", () => {
  const known = { ...speed, prefill: { value: 50, unit: "tokens/s", kind: "measured" } } as const;
  expect(spans(spec, [["prompt", 5], ["thinking", 0]], known).map((one) => one.time?.value)).toEqual([0.1, 0]);
});

test("the curve begins with nothing and bends where the window is full", () => {
  const curve = growth(keptBy(spec), 20, 4);
  expect(curve).toEqual([0, 5, 10, 15, 20].map((tokens) => 32 * (tokens + Math.min(tokens, 10))));
});
