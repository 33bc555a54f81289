/** Rotary positions: the frequencies and turns of girih/nn/rotary.py, held to them by vectors.json. */

import type { Num, RopeInfo } from "../data/types.ts";
import { computed } from "./format.ts";

/** As the spec writes it: `mixer.position.scaling`. */
export type Scaling =
  | { type: "LinearScaling"; factor: number }
  | { type: "DynamicScaling"; factor: number; original_context: number }
  | {
      type: "YarnScaling";
      factor: number;
      original_context: number;
      beta_fast?: number;
      beta_slow?: number;
      temperature?: number;
      whole?: boolean;
    }
  | {
      type: "Llama3Scaling";
      factor: number;
      low_freq_factor: number;
      high_freq_factor: number;
      original_context: number;
    }
  | { type: "FrequencyFactors"; factors: number[] }
  | { type: "ProportionalScaling"; pairs: number; factor?: number }
  | { type: "LongScaling"; short: number[]; long: number[]; original_context: number; temperature?: number };

export type Pairs = RopeInfo["pairs"];

/** The angle per token of each pair, in a text that will come to `horizon` tokens. */
export function inverse(width: number, theta: number, scaling: Scaling | null = null, horizon = 0): number[] {
  const base = scaling?.type === "DynamicScaling" ? stretched(width, theta, scaling, horizon) : theta;
  const plain = Array.from({ length: width / 2 }, (_, pair) => base ** ((-2 * pair) / width));
  switch (scaling?.type) {
    case "LinearScaling":
      return plain.map((one) => one / scaling.factor);
    case "FrequencyFactors":
      return plain.map((one, pair) => one / scaling.factors[pair]!);
    case "LongScaling": {
      const factors = horizon > scaling.original_context ? scaling.long : scaling.short;
      return plain.map((one, pair) => one / factors[pair]!);
    }
    case "ProportionalScaling":
      return plain.map((one, pair) => (pair < scaling.pairs ? one / (scaling.factor ?? 1) : 0));
    case "Llama3Scaling":
      return plain.map((one) => llama3(one, scaling));
    case "YarnScaling":
      return yarn(plain, width, theta, scaling);
    default:
      return plain;
  }
}

/** The base of dynamic NTK: it grows once a text is longer than those of training. */
function stretched(
  width: number,
  theta: number,
  scaling: Extract<Scaling, { type: "DynamicScaling" }>,
  horizon: number,
): number {
  const beyond = Math.max(horizon, scaling.original_context) / scaling.original_context - 1;
  return theta * (1 + scaling.factor * beyond) ** (width / (width - 2));
}

function llama3(plain: number, scaling: Extract<Scaling, { type: "Llama3Scaling" }>): number {
  const turns = (scaling.original_context * plain) / (2 * Math.PI);
  const band = scaling.high_freq_factor - scaling.low_freq_factor;
  const share = clamp((turns - scaling.low_freq_factor) / band);
  return plain * (share + (1 - share) / scaling.factor);
}

function yarn(plain: number[], width: number, theta: number, scaling: Extract<Scaling, { type: "YarnScaling" }>) {
  const { factor, original_context: context, beta_fast = 32, beta_slow = 1, whole = true } = scaling;
  const pair = (turns: number) => (width * Math.log(context / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const edges = [pair(beta_fast), pair(beta_slow)] as const;
  const low = Math.max(whole ? Math.floor(edges[0]) : edges[0], 0);
  const high = Math.min(whole ? Math.ceil(edges[1]) : edges[1], width - 1);
  return plain.map((one, at) => {
    const share = clamp((at - low) / (Math.max(high - low, 0) || 0.001));
    return one * (1 - share) + (one / factor) * share;
  });
}

/** What queries and keys are multiplied by besides. */
export function temperature(scaling: Scaling | null): number {
  return scaling && "temperature" in scaling ? (scaling.temperature ?? 1) : 1;
}

/** Tokens after which each pair has turned once. */
export function wavelengths(frequencies: readonly number[]): number[] {
  return frequencies.map((one) => (2 * Math.PI) / one);
}

/** How far each pair is turned at a position, in radians. */
export function angles(position: number, frequencies: readonly number[]): number[] {
  return frequencies.map((one) => position * one);
}

/** The two features that each pair is made of. */
export function places(pair: number, width: number, pairs: Pairs): [number, number] {
  return pairs === "halves" ? [pair, pair + width / 2] : [2 * pair, 2 * pair + 1];
}

/** A query or key turned to its position; what is beyond the rotary width stays. */
export function rotate(
  vector: ArrayLike<number>,
  position: number,
  frequencies: readonly number[],
  pairs: Pairs,
): Float64Array {
  const out = Float64Array.from(vector);
  const width = 2 * frequencies.length;
  frequencies.forEach((one, pair) => {
    const [a, b] = places(pair, width, pairs);
    const turn = position * one;
    const [x, y] = [out[a]!, out[b]!];
    out[a] = x * Math.cos(turn) - y * Math.sin(turn);
    out[b] = x * Math.sin(turn) + y * Math.cos(turn);
  });
  return out;
}

/** The score of a query for a key at their positions, before the softmax. */
export function score(
  query: ArrayLike<number>,
  key: ArrayLike<number>,
  at: { query: number; key: number },
  rope: { inverse: readonly number[]; pairs: Pairs },
  scale = 1,
): Num {
  const q = rotate(query, at.query, rope.inverse, rope.pairs);
  const k = rotate(key, at.key, rope.inverse, rope.pairs);
  const product = q.reduce((sum, one, place) => sum + one * k[place]!, 0);
  return computed(product * scale, "", "product * scale", { product, scale }, "girih/nn/attention.py");
}

function clamp(value: number): number {
  return Math.min(1, Math.max(0, value));
}
