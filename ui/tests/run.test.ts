import { expect, test } from "vitest";
import { after, IDLE } from "../src/data/run.ts";
import type { RunEvent } from "../src/data/types.ts";

const events: RunEvent[] = [
  { type: "status", text: "loading tiny-gqa" },
  { type: "run", run: "r1", model: "tiny-gqa", tokens: [{ id: 5, text: "The" }], layers: [{ path: "a", kind: "gqa" }] },
  { type: "cache", tokens: 1, used: [8], allocated: [64], predicted: [8], process: 100, capacity: 8 },
  { type: "token", i: 0, id: 7, text: " with", piece: " with", logprob: -0.5, top: [{ id: 7, text: " with", p: 0.6 }], ms: 3 },
  { type: "cache", tokens: 2, used: [16], allocated: [64], predicted: [16], process: 100, capacity: 8 },
  { type: "done", reason: "length", text: " with", numbers: {} },
];

test("a run holds what its events said, in order", () => {
  const state = events.reduce(after, { ...IDLE, status: "running" as const });
  expect(state.prompt.map((one) => one.text)).toEqual(["The"]);
  expect(state.made.map((one) => one.text)).toEqual([" with"]);
  expect(state.caches.map((one) => one.tokens)).toEqual([1, 2]);
  expect([state.status, state.reason, state.note]).toEqual(["done", "length", ""]);
});

test("an error ends a run and keeps what it had", () => {
  const state = after(events.slice(0, 4).reduce(after, IDLE), { type: "error", error: "out of memory" });
  expect(state.status).toBe("failed");
  expect(state.error).toBe("out of memory");
  expect(state.made).toHaveLength(1);
});

test("text that was held back joins the last token", () => {
  const state = [...events.slice(0, 4), { type: "text", text: " a" } as const].reduce(after, IDLE);
  expect(state.made.map((one) => one.text)).toEqual([" with a"]);
  expect(after(IDLE, { type: "text", text: "" })).toEqual(IDLE);
});
