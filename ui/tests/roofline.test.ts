import { expect, test } from "vitest";
import type { Num, Priced } from "../src/data/types.ts";
import { parts, said, steps } from "../src/views/roofline/steps.ts";

function num(value: number, inputs: Record<string, number> = {}): Num {
  return { value, unit: "", kind: "computed", inputs };
}

function priced(decode: Record<string, number>, fixed = 0): Priced {
  const cost = {
    prefill_flops: num(9000), decode_flops: num(Object.values(decode).reduce((a, b) => a + b, 0), decode),
    weight_bytes: num(100), decode_weight_bytes: num(80), decode_bytes: num(120), state_bytes: num(40), state_fixed_bytes: num(fixed),
  };
  return { cost } as unknown as Priced;
}

test("a step of decoding has the parts that the model has", () => {
  expect(parts(priced({ linear: 160, attention: 120 })).map((one) => [one.id, one.work])).toEqual([
    ["weights", { flops: 160, bytes: 80 }],
    ["attention", { flops: 120, bytes: 40 }],
  ]);
  expect(parts(priced({ linear: 160, scan: 60 }, 40)).map((one) => one.id)).toEqual(["weights", "scan"]);
  expect(parts(priced({ linear: 160, attention: 120, scan: 60 }, 30)).map((one) => one.work.bytes)).toEqual([80, 10, 30]);
});

test("parts are together what a step is", () => {
  const one = priced({ linear: 160, attention: 120, scan: 60 }, 30);
  const decode = steps(one, 16, 1)[1]!;
  const sum = (of: "flops" | "bytes") => parts(one).reduce((total, { work }) => total + work[of], 0);
  expect([sum("flops"), sum("bytes")]).toEqual([decode.work.flops, decode.work.bytes]);
});

test("what is bound by memory takes as long as its bytes", () => {
  const limits = { peak: 1000, bandwidth: 10 };
  const found = said({ work: { flops: 160, bytes: 80 } }, limits);
  expect([found.perByte.value, found.bound, found.time.value]).toEqual([2, "memory", 8]);
  expect(said({ work: { flops: 160_000, bytes: 80 } }, limits).bound).toBe("arithmetic");
});
