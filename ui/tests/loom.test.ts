/** What is worked out of a scan's tiles, and the noising of points. */

import { describe, expect, it } from "vitest";
import { crossing, half, length, means, shares } from "../src/views/loom/scan.ts";
import { alphaBars, noise, noised, spirals } from "../src/views/denoise/schedule.ts";

describe("a scan", () => {
  it("is shown by means over channels", () => {
    expect(means({ values: new Float32Array([1, 3, 5, 7]), shape: [2, 2], note: {} })).toEqual([2, 6]);
  });

  it("has rows as shares, and an empty row as it is", () => {
    expect([...shares([1, 3, 0, 0], 2)]).toEqual([0.25, 0.75, 0, 0]);
  });

  it("has a length and a half-life", () => {
    expect(length([3, 4])).toBe(5);
    expect(half(Math.SQRT1_2)).toBeCloseTo(2, 12);
    expect(half(1)).toBe(Number.POSITIVE_INFINITY);
    expect(half(0)).toBe(0);
  });

  it("is passed by what grows, unless a window holds that back", () => {
    expect(crossing(100, 10, null)).toBe(11);
    expect(crossing(99, 10, null)).toBe(10);
    expect(crossing(100, 10, 8)).toBe(null);
    expect(crossing(100, 0, null)).toBe(null);
  });
});

describe("noising", () => {
  it("begins with the picture and ends with noise, and never turns back", () => {
    for (const kind of ["linear", "cosine"] as const) {
      const bars = alphaBars(kind, 50);
      expect(bars).toHaveLength(51);
      expect(bars[0]).toBe(1);
      expect(bars.at(-1)).toBeLessThan(0.001);
      for (let t = 1; t < bars.length; t++) expect(bars[t]!).toBeLessThan(bars[t - 1]!);
    }
  });

  it("is that of the papers: betas of a thousand steps, and a cosine squared", () => {
    const linear = alphaBars("linear", 1000);
    expect(linear[1]).toBeCloseTo(1 - 1e-4, 12);
    expect(linear[1000]! / linear[999]!).toBeCloseTo(1 - 0.02, 12);
    const cosine = alphaBars("cosine", 1000);
    const f = (t: number) => Math.cos(((t / 1000 + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    expect(cosine[500]).toBeCloseTo(f(500) / f(0), 12);
  });

  it("keeps the variance of what has one", () => {
    const eps = noise(4000, 3);
    const points = noised(noise(4000, 4), eps, 0.3);
    for (const axis of [0, 1] as const) {
      const mean = points.reduce((sum, one) => sum + one[axis], 0) / points.length;
      const variance = points.reduce((sum, one) => sum + (one[axis] - mean) ** 2, 0) / points.length;
      expect(mean).toBeCloseTo(0, 1);
      expect(variance).toBeCloseTo(1, 1);
    }
    expect(noised(spirals(6), noise(6, 1), 1)).toEqual(spirals(6));
    expect(noise(5, 1)).toEqual(noise(5, 1));
    expect(noise(5, 1)).not.toEqual(noise(5, 2));
  });
});
