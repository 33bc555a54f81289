/** A mask as runs of cells and as words. */

import type { MaskInfo } from "../../data/types.ts";
import { representatives, span, spansOf, type Representative } from "../../numbers/masks.ts";

/** Cells of a row from one column to another, both of them seen. */
export interface Run {
  row: number;
  first: number;
  last: number;
}

/** The representatives that there are after so many tokens, each a column: level by level, as the engine has them. */
export function columns(mask: MaskInfo, tokens: number): Representative[] {
  if (mask.kind !== "grouped") return [];
  return spansOf(mask).flatMap((size, index) => {
    const made = mask.ahead ? Math.ceil(tokens / size) : Math.floor(tokens / size);
    return Array.from({ length: made }, (_, window) => {
      const last = Math.min(tokens, (window + 1) * size) - 1;
      return { level: index + 1, window, first: window * size, last };
    });
  });
}

/** What each token sees: its tokens, one run a row. */
export function tokenRuns(mask: MaskInfo, tokens: number): Run[] {
  return Array.from({ length: tokens }, (_, row) => ({ row, ...span(mask, row, tokens) }));
}

/** What each token sees of representatives, by their columns. */
export function groupRuns(mask: MaskInfo, tokens: number): Run[] {
  const starts = firstColumns(columns(mask, tokens));
  const out: Run[] = [];
  for (let row = 0; row < tokens; row++) {
    for (const one of representatives(mask, row, tokens)) {
      const column = starts[one.level]! + one.window;
      const before = out.at(-1);
      if (before?.row === row && before.last === column - 1) before.last = column;
      else out.push({ row, first: column, last: column });
    }
  }
  return out;
}

function firstColumns(all: readonly Representative[]): number[] {
  const out: number[] = [];
  all.forEach((one, column) => (out[one.level] ??= column));
  return out;
}

/** The whole mask as 0 and 1, [tokens, tokens + representatives]: what the engine's is compared with. */
export function grid(mask: MaskInfo, tokens: number): { cols: number; cells: Uint8Array } {
  const cols = tokens + columns(mask, tokens).length;
  const cells = new Uint8Array(tokens * cols);
  const fill = ({ row, first, last }: Run, from: number) =>
    cells.fill(1, row * cols + from + first, row * cols + from + last + 1);
  for (const run of tokenRuns(mask, tokens)) fill(run, 0);
  for (const run of groupRuns(mask, tokens)) fill(run, tokens);
  return { cols, cells };
}

/** An outline of runs for SVG, one unit a cell. */
export function outline(runs: readonly Run[], from = 0): string {
  return runs.map(({ row, first, last }) => `M${from + first} ${row}h${last - first + 1}v1h${first - last - 1}z`).join("");
}

function range({ first, last }: { first: number; last: number }): string {
  return first === last ? `${first + 1}` : `${first + 1}-${last + 1}`;
}

/** What a token sees, in words; tokens are counted from 1. */
export function sentence(mask: MaskInfo, query: number, tokens: number): string {
  const own = span(mask, query, tokens);
  const alone = own.first === own.last;
  const seen = alone && own.first === query ? "itself alone" : `token${alone ? "" : "s"} ${range(own)}`;
  const others = representatives(mask, query, tokens);
  const who = others.length === 1 ? "the representative" : "the representatives";
  const more = others.length > 6 ? `${others.length} representatives` : `${who} of ${others.map(range).join(", ")}`;
  return `token ${query + 1} can attend to ${seen}${others.length ? `, and to ${more}` : ""}`;
}

/** How many cells of two masks are the same, and of how many. */
export function agreement(ours: ArrayLike<number>, theirs: ArrayLike<number>): { same: number; of: number } {
  let same = 0;
  const of = Math.max(ours.length, theirs.length);
  for (let i = 0; i < of; i++) if (ours[i] === theirs[i]) same += 1;
  return { same, of };
}
