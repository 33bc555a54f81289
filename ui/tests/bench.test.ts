import { expect, test } from "vitest";
import { stateBytes } from "../src/numbers/kv.ts";
import { CLASSIC, fitting, specOf, ways } from "../src/views/kv/ways.ts";

const MIB = 2 ** 20;
const use = { tokens: 6400, batch: 1, format: "float16" } as const;
const sizes = (shape = CLASSIC, more = {}) =>
  Object.fromEntries(ways(shape).map((one) => [one.id, stateBytes(one.kept, { ...use, ...more }).value / MIB]));

test("the classic figure is 3200, 800 and 100 MiB, and what it leaves out", () => {
  expect(sizes()).toEqual({ mha: 3200, gqa: 800, mqa: 100, mla: 225, window: 512, ssm: 19 });
});

test("the window stops to grow, and the scan is the same at any length", () => {
  expect(sizes(CLASSIC, { tokens: 1 << 20 })).toMatchObject({ window: 512, ssm: 19 });
  expect(sizes(CLASSIC, { tokens: 100, batch: 2 })).toMatchObject({ ssm: 38, gqa: 25 });
});

test("kept heads are a divisor of the query heads", () => {
  expect([fitting(32, 8), fitting(32, 5), fitting(9, 8), fitting(7, 6)]).toEqual([8, 4, 3, 1]);
});

test("what is measured is what is drawn", () => {
  for (const way of ways({ ...CLASSIC, layers: 3 })) {
    const spec = specOf(way) as { stacks: { layers: { repeat: number; of: { branches: { mixer: object }[] } }[] }[] };
    const [layers] = spec.stacks[0]!.layers;
    expect(layers!.repeat).toBe(3);
    expect(layers!.of.branches[0]!.mixer).toBe(way.mixer);
  }
});
