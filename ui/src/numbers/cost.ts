/** How long a step takes at the least: what the machine's limits make of its operations and bytes. */

import type { Num } from "../data/types.ts";
import { computed } from "./format.ts";

/** What a machine does in a second: operations, and bytes read from memory. */
export interface Limits {
  peak: number;
  bandwidth: number;
}

/** One step: its floating-point operations, and the bytes that it has to read. */
export interface Work {
  flops: number;
  bytes: number;
}

/** One more token of one sequence. */
export interface Decode {
  /** Operations of one sequence. */
  flops: number;
  /** Bytes of weights, read once for all sequences. */
  weights: number;
  /** Bytes of state of one sequence. */
  state: number;
}

/** Operations for each byte. */
export function intensity(work: Work): number {
  return work.flops / work.bytes;
}

/** Operations a second that the limits allow at so many for each byte: the roof. */
export function roof(perByte: number, limits: Limits): number {
  return Math.min(limits.peak, perByte * limits.bandwidth);
}

/** Operations for each byte from which on arithmetic bounds, not memory. */
export function ridge(limits: Limits): number {
  return limits.peak / limits.bandwidth;
}

export function boundBy(work: Work, limits: Limits): "memory" | "arithmetic" {
  return intensity(work) < ridge(limits) ? "memory" : "arithmetic";
}

/** The least time of a step. */
export function leastTime(work: Work, limits: Limits): Num {
  const value = Math.max(work.flops / limits.peak, work.bytes / limits.bandwidth);
  return computed(value, "s", "max(flops / peak, bytes / bandwidth)", { ...work, ...limits });
}

/** The most steps in a second, times the tokens of each. */
export function mostSpeed(work: Work, limits: Limits, tokens: number): Num {
  const value = tokens / leastTime(work, limits).value;
  const expr = "tokens / max(flops / peak, bytes / bandwidth)";
  return computed(value, "tokens/s", expr, { tokens, ...work, ...limits });
}

/** A step of decoding for `batch` sequences. */
export function decodeWork(one: Decode, batch: number): Work {
  return { flops: batch * one.flops, bytes: one.weights + batch * one.state };
}

/** The batch up to which memory bounds a step of decoding; null: it does at any. */
export function batchLimit(one: Decode, limits: Limits): Num | null {
  const spare = one.flops / limits.peak - one.state / limits.bandwidth;
  if (spare <= 0) return null;
  const value = one.weights / limits.bandwidth / spare;
  const expr = "weights / bandwidth / (flops / peak - state / bandwidth)";
  return computed(value, "", expr, { ...one, ...limits });
}

/** The tokens from which on a step reads more state than weights; null: it never does. */
export function tokenLimit(weights: number, perToken: number, fixed: number, batch: number): Num | null {
  if (perToken <= 0) return null;
  const value = Math.max(0, (weights / batch - fixed) / perToken);
  const inputs = { weights, batch, fixed, per_token: perToken };
  return computed(value, "tokens", "max(0, (weights / batch - fixed) / per_token)", inputs);
}
