import { expect, test } from "vitest";
import { bytes, count, digits, filled, number } from "../src/numbers/format.ts";

test.each([
  [3200 * 2 ** 20, "MiB", "3.125 GiB"],
  [100 * 2 ** 20, "MiB", "100 MiB"],
  [100 * 2 ** 20, "MB", "104.9 MB"],
  [22.5 * 1024, "MiB", "22.5 KiB"],
  [0, "MiB", "0 B"],
] as const)("%d bytes in %s are %s", (value, units, text) => {
  expect(bytes(value, units)).toBe(text);
});

test.each([
  [134_515_008, "134.5 million"],
  [8_030_261_248, "8.03 billion"],
  [999, "999"],
] as const)("%d parameters are %s", (value, text) => {
  expect(count(value)).toBe(text);
});

test("speeds, times and shares", () => {
  expect(number(0.0123, "s")).toBe("12.3 ms");
  expect(number(38.64, "tokens/s")).toBe("38.64 tokens/s");
  expect(number(835_200_000, "FLOP")).toBe("835.2 MFLOP");
  expect(number(12.5, "%")).toBe("12.5 %");
  expect(digits(-0.25)).toBe("-0.25");
});

test("a formula is filled with its values, whole names only", () => {
  const one = { value: 24, unit: "B" as const, kind: "computed" as const, expr: "heads * head_dim * bytes", inputs: { heads: 3, head_dim: 4, bytes: 2 } };
  expect(filled(one)).toBe("3 * 4 * 2");
});
