/** The mask painter: cells, words, and stacks of layers. */

import { describe, expect, it } from "vitest";
import type { MaskInfo } from "../src/data/types.ts";
import { sees } from "../src/numbers/masks.ts";
import { agreement, columns, grid, groupRuns, outline, sentence } from "../src/views/mask/cells.ts";
import { stacked, unbounded } from "../src/views/mask/stacked.ts";

const GROUPED: MaskInfo = { kind: "grouped", sizes: [4], ahead: false };
const MASKS: MaskInfo[] = [
  { kind: "causal" }, { kind: "full" }, { kind: "sliding", left: 3, right: 0 }, { kind: "sliding", left: 2, right: 2 },
  { kind: "chunked", size: 5 }, { kind: "prefix", length: 6 },
];

describe("cells", () => {
  it("are the mask's rule, cell by cell", () => {
    for (const mask of MASKS) {
      const { cols, cells } = grid(mask, 13);
      expect(cols).toBe(13);
      for (let row = 0; row < 13; row++) {
        for (let col = 0; col < 13; col++) expect(cells[row * 13 + col], `${mask.kind} ${row} ${col}`).toBe(Number(sees(mask, row, col, 13)));
      }
    }
  });

  it("have a column for each representative there is", () => {
    expect(columns(GROUPED, 16).map((one) => [one.first, one.last])).toEqual([[0, 3], [4, 7], [8, 11], [12, 15]]);
    expect(columns(GROUPED, 15)).toHaveLength(3);
    expect(columns({ ...GROUPED, ahead: true }, 15).at(-1)).toMatchObject({ first: 12, last: 14 });
    expect(columns({ kind: "grouped", sizes: [4, 2], ahead: false }, 16).map((one) => one.level)).toEqual([1, 1, 1, 1, 2, 2]);
    expect(grid(GROUPED, 16).cols).toBe(20);
  });

  it("of representatives are runs in their columns", () => {
    expect(groupRuns(GROUPED, 16).filter((one) => one.row === 11)).toEqual([{ row: 11, first: 0, last: 1 }]);
    const levels: MaskInfo = { kind: "grouped", sizes: [2, 2], ahead: false };
    // Token 7 of 8: of level 1 the window of tokens 4-5, of level 2 that of tokens 0-3.
    expect(groupRuns(levels, 8).filter((one) => one.row === 7)).toEqual([{ row: 7, first: 2, last: 2 }, { row: 7, first: 4, last: 4 }]);
  });

  it("are drawn as outlines one unit high", () => {
    expect(outline([{ row: 3, first: 1, last: 4 }], 2)).toBe("M3 3h4v1h-4z");
  });
});

describe("words", () => {
  it("are those of the classic figure", () => {
    const centred: MaskInfo = { kind: "sliding", left: 2, right: 2 };
    expect(sentence(centred, 0, 16)).toBe("token 1 can attend to tokens 1-3");
    expect(sentence({ kind: "sliding", left: 3, right: 0 }, 7, 16)).toBe("token 8 can attend to tokens 5-8");
  });

  it("know the token that is alone, and representatives", () => {
    expect(sentence({ kind: "causal" }, 0, 8)).toBe("token 1 can attend to itself alone");
    expect(sentence(GROUPED, 4, 16)).toBe("token 5 can attend to itself alone, and to the representative of 1-4");
    expect(sentence(GROUPED, 63, 64)).toBe("token 64 can attend to tokens 61-64, and to 15 representatives");
  });
});

describe("agreement", () => {
  it("counts cells, and what one side lacks as different", () => {
    expect(agreement([1, 0, 1], [1, 1, 1])).toEqual({ same: 2, of: 3 });
    expect(agreement([1, 0], [1, 0, 1])).toEqual({ same: 2, of: 3 });
  });
});

describe("stacks of layers", () => {
  const window: MaskInfo = { kind: "sliding", left: 3, right: 0 };

  it("have a global layer each so many", () => {
    expect(stacked(window, 5, 2).map((one) => one.kind)).toEqual(["sliding", "causal", "sliding", "causal", "sliding"]);
    expect(stacked(window, 3, 0).map((one) => one.kind)).toEqual(["sliding", "sliding", "sliding"]);
  });

  it("reach 1 + L (W - 1) tokens, or all once a global layer is passed", () => {
    expect(unbounded(stacked(window, 4, 0))).toMatchObject({ value: 13, expr: "1 + layers_0 * others_0" });
    expect(unbounded([window, { kind: "sliding", left: 7, right: 0 }, window])?.value).toBe(1 + 2 * 3 + 7);
    expect(unbounded([{ kind: "sliding", left: 2, right: 2 }])?.value).toBe(5);
    expect(unbounded(stacked(window, 4, 4))).toBe(null);
  });
});
