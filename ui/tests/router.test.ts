/** How tokens are spread over experts. */

import { describe, expect, it } from "vitest";
import { listed, loads, share, variation } from "../src/views/router/loads.ts";

const WEIGHTS = [0.7, 0.3, 0, 0.6, 0, 0.4, 0, 0, 1];

describe("loads", () => {
  it("counts the tokens that chose an expert, whatever the weight", () => {
    expect(loads(WEIGHTS, 3)).toEqual([2, 1, 2]);
  });

  it("are shares of all choices", () => {
    expect(share([2, 1, 2], 1, "p").value).toBe(20);
    expect(share([0, 0], 1, "p").value).toBe(0);
  });

  it("vary by nothing where all are as busy", () => {
    expect(variation([3, 3, 3], "p").value).toBe(0);
    expect(variation([0, 4], "p").value).toBe(1);
    expect(variation([0, 0], "p").value).toBe(0);
  });
});

describe("experts in an address", () => {
  it("are those there are, once, in order", () => {
    expect(listed("7,3,3,99,-1,x", 8)).toEqual([3, 7]);
    expect(listed("", 8)).toEqual([]);
  });
});
