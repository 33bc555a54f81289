/** How few keys carry most of a row of attention, and what the parts of a row are called. */

import type { MaskInfo } from "../../data/types.ts";
import { type Representative, representatives, type Span, span, spansOf } from "../../numbers/masks.ts";

/** The largest texts whose map is fetched as it is; beyond, cells are the largest of several. */
export const WHOLE = 1024;

/** Tokens that one cell of the map stands for. */
export function poolOf(tokens: number): number {
  return Math.max(1, Math.ceil(tokens / WHOLE));
}

/** Places of a row, the heaviest first; equal ones in order. */
export function ranked(row: ArrayLike<number>): number[] {
  return Array.from(row, (_, at) => at).sort((a, b) => row[b]! - row[a]! || a - b);
}

/** The fewest places that carry this share of all that the row has. */
export function nucleus(row: ArrayLike<number>, share: number, order: readonly number[] = ranked(row)): Set<number> {
  let all = 0;
  for (let at = 0; at < row.length; at++) all += row[at]!;
  const kept = new Set<number>();
  let sum = 0;
  for (const at of order) {
    // Sums of float32 weights are true to about six digits.
    if (sum >= share * all - 1e-6 || row[at]! <= 0) break;
    kept.add(at);
    sum += row[at]!;
  }
  return kept;
}

export function total(row: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < row.length; at++) sum += row[at]!;
  return sum;
}

/** All representatives of a text in the order of their columns: level by level. */
export function columns(mask: MaskInfo, tokens: number): Representative[] {
  if (mask.kind !== "grouped") return [];
  return spansOf(mask).flatMap((size, index) =>
    Array.from({ length: mask.ahead ? Math.ceil(tokens / size) : Math.floor(tokens / size) }, (_, window) => ({
      level: index + 1,
      window,
      first: window * size,
      last: Math.min(tokens, (window + 1) * size) - 1,
    })),
  );
}

/** Whether the token at `query` sees each of the representatives. */
export function seesColumn(mask: MaskInfo, query: number, tokens: number): (one: Representative) => boolean {
  const seen = new Set(representatives(mask, query, tokens).map((one) => `${one.level} ${one.window}`));
  return (one) => seen.has(`${one.level} ${one.window}`);
}

/** Which cells hold no pair of a token and one that it sees; a cell is `pool` tokens a side. */
export function unseen(mask: MaskInfo, tokens: number, pool = 1): (row: number, col: number) => boolean {
  const spans = Array.from({ length: tokens }, (_, query) => span(mask, query, tokens));
  const last = tokens - 1;
  // Asked of every cell of a large map: nothing is made on the way.
  if (pool === 1) return (row, col) => col < spans[row]!.first || col > spans[row]!.last;
  return (row, col) => clear(spans, [row * pool, Math.min((row + 1) * pool - 1, last)], [col * pool, Math.min((col + 1) * pool - 1, last)]);
}

/** The same of a map of `size` cells a side, however many tokens a cell has. */
export function unseenOf(mask: MaskInfo, tokens: number, size: number): (row: number, col: number) => boolean {
  const spans = Array.from({ length: tokens }, (_, query) => span(mask, query, tokens));
  return (row, col) => clear(spans, range(row, size, tokens), range(col, size, tokens));
}

function clear(spans: readonly Span[], rows: readonly [number, number], cols: readonly [number, number]): boolean {
  for (let query = rows[0]; query <= rows[1]; query++) {
    const { first, last } = spans[query]!;
    if (first <= cols[1] && cols[0] <= last) return false;
  }
  return true;
}

/** The tokens that a cell of a map of `size` cells a side stands for. */
export function range(cell: number, size: number, tokens: number): [number, number] {
  return [Math.floor((cell * tokens) / size), Math.max(0, Math.ceil(((cell + 1) * tokens) / size) - 1)];
}
