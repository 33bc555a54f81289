/** What is worked out of a scan's tiles: means over channels, shares of rows, lengths. */

import type { Tile } from "../../data/types.ts";

/** The mean of each row of [rows, cols]. */
export function means(tile: Tile): number[] {
  const [rows, cols] = tile.shape as [number, number];
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let col = 0; col < cols; col++) sum += tile.values[row * cols + col]!;
    return sum / cols;
  });
}

/** Each row over its sum: what share of all that a token reads is of each other one. */
export function shares(values: ArrayLike<number>, cols: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += cols) {
    let sum = 0;
    for (let col = 0; col < cols; col++) sum += values[start + col]!;
    if (sum > 0) for (let col = 0; col < cols; col++) out[start + col] = values[start + col]! / sum;
  }
  return out;
}

/** The length of a vector. */
export function length(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! ** 2;
  return Math.sqrt(sum);
}

/** After how many tokens half of a state is gone if each keeps this share; Infinity if all is kept. */
export function half(keep: number): number {
  if (keep >= 1) return Number.POSITIVE_INFINITY;
  return keep <= 0 ? 0 : Math.log(0.5) / Math.log(keep);
}

/** From how many tokens on a growing state is larger than a fixed one; null if never. */
export function crossing(fixed: number, perToken: number, window: number | null): number | null {
  if (perToken <= 0) return null;
  const at = Math.floor(fixed / perToken) + 1;
  return window !== null && at > window ? null : at;
}
