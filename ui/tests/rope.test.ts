import { expect, test } from "vitest";
import type { BranchInfo, RopeInfo, Tile } from "../src/data/types.ts";
import { inverse, rotate, score, wavelengths } from "../src/numbers/rope.ts";
import { distances, ownScaling, parts, product, share, sinusoid, slopes, turning, vectors } from "../src/views/rope/turns.ts";

const some = (count: number, seed: number) => Float64Array.from({ length: count }, (_, at) => Math.sin(seed + 7.3 * at * at));
const own: RopeInfo = { theta: 10_000, width: 8, pairs: "halves", scaling: null, inverse: inverse(8, 10_000) };
const asked = { base: 0, scaling: "own", factor: 4, context: 64 } as const;

test("the sum of waves is the score of the rotated query and key, wherever they stand", () => {
  for (const pairs of ["halves", "interleaved"] as const) {
    const turns = turning({ ...own, pairs }, null, asked);
    const [q, k] = [some(12, 1), some(12, 2)];
    const all = parts(q, k, turns);
    for (const at of [{ query: 0, key: 0 }, { query: 9, key: 2 }, { query: 509, key: 502 }, { query: 3, key: 11 }]) {
      const whole = score(q, k, at, turns, 0.25).value;
      expect(0.25 * product(all, at.query - at.key, turns)).toBeCloseTo(whole, 9);
    }
    expect(product(all, 7, turns)).not.toBeCloseTo(product(all, 8, turns), 3);
    expect(all.pairs.length).toBe(4);
    expect(share(all.pairs[1]!, 0)).toBe(all.pairs[1]!.cos);
  }
});

test("a temperature is of rotated features alone, of query and of key", () => {
  const turns = { ...turning(own, null, asked), temperature: 1.5 };
  const [q, k] = [some(10, 3), some(10, 4)];
  const turned = (vector: Float64Array, position: number) =>
    rotate(vector, position, turns.inverse, turns.pairs).map((one, at) => (at < 8 ? 1.5 * one : one));
  const [a, b] = [turned(q, 6), turned(k, 1)];
  expect(product(parts(q, k, turns), 5, turns)).toBeCloseTo(a.reduce((sum, one, at) => sum + one * b[at]!, 0), 9);
});

test("the model's own rotation is the engine's, any other is made", () => {
  const engine = { ...own, inverse: [1, 0.5, 0.25, 0.125] };
  expect(turning(engine, null, asked).inverse).toBe(engine.inverse);
  expect(turning(engine, null, { ...asked, scaling: "none" }).inverse).toEqual(inverse(8, 10_000));
  expect(turning(engine, null, { ...asked, base: 100 }).inverse).toEqual(inverse(8, 100));
  const linear = turning(engine, null, { ...asked, scaling: "linear" }).inverse;
  expect(linear).toEqual(inverse(8, 10_000).map((one) => one / 4));
  const ntk = wavelengths(turning(engine, null, { ...asked, scaling: "ntk" }).inverse);
  const plain = wavelengths(inverse(8, 10_000));
  expect(ntk[0]).toBeCloseTo(plain[0]!, 9);
  expect(ntk[3]! / plain[3]!).toBeCloseTo(4, 6);
  const yarn = turning(engine, null, { ...asked, scaling: "yarn" });
  expect(yarn.temperature).toBeCloseTo(1 + 0.1 * Math.log(4), 9);
  expect(yarn.inverse.at(-1)).toBeCloseTo(inverse(8, 10_000).at(-1)! / 4, 9);
  const held = { type: "LinearScaling", factor: 8 };
  expect(ownScaling({ mixer: { position: { scaling: held } } } as unknown as BranchInfo)).toBe(held);
  expect(ownScaling({ mixer: { position: null } } as unknown as BranchInfo)).toBe(null);
});

test("queries come before keys in a tile, the rotated features first", () => {
  const tile: Tile = { values: Float32Array.from({ length: 24 }, (_, at) => at), shape: [2, 3, 4], note: {} };
  expect([...vectors(tile, 2, 1).query]).toEqual([8, 9, 10, 11]);
  expect([...vectors(tile, 2, 1).key]).toEqual([16, 17, 18, 19]);
  expect([...vectors({ ...tile, note: { first: 2 } }, 0, 0).query]).toEqual([2, 3, 0, 1]);
});

test("distances are whole and reach the end", () => {
  expect(distances(5, 5)).toEqual([0, 1, 2, 3, 4, 5]);
  expect(distances(1000, 10)).toEqual(Array.from({ length: 11 }, (_, at) => 100 * at));
});

test("slopes of ALiBi halve for 8 heads, and fill up where heads are no power of two", () => {
  expect(slopes(8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((one) => 2 ** -one));
  expect(slopes(3).length).toBe(3);
  expect(slopes(3)).toEqual([2 ** -4, 2 ** -8, 2 ** -2]);
});

test("the code of a position is sines and cosines of falling frequency", () => {
  expect([...sinusoid(0, 4)]).toEqual([0, 1, 0, 1]);
  expect(sinusoid(3, 4)[0]).toBeCloseTo(Math.sin(3), 12);
  expect(sinusoid(3, 4)[3]).toBeCloseTo(Math.cos(0.03), 12);
});
