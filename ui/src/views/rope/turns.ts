/** What the RoPE dial computes: other settings of the same rotation, and scores over distances. */

import type { BranchInfo, RopeInfo, Tile } from "../../data/types.ts";
import { inverse, type Pairs, places, type Scaling, temperature } from "../../numbers/rope.ts";

export const KINDS = ["own", "none", "linear", "ntk", "yarn"] as const;
export type ScalingKind = (typeof KINDS)[number];

export interface Asked {
  /** 0: the base of the model. */
  base: number;
  scaling: ScalingKind;
  factor: number;
  /** What the model was trained on. */
  context: number;
}

export interface Turning {
  inverse: number[];
  pairs: Pairs;
  /** What the rotated features are multiplied by besides. */
  temperature: number;
}

/** The scaling that the model itself has. */
export function ownScaling(branch: BranchInfo): Scaling | null {
  const position = branch.mixer["position"] as { scaling?: Scaling } | null | undefined;
  return position?.scaling ?? null;
}

export function scalingOf(asked: Asked, own: Scaling | null): Scaling | null {
  const { factor, context: original_context } = asked;
  switch (asked.scaling) {
    case "own":
      return own;
    case "linear":
      return { type: "LinearScaling", factor };
    case "ntk":
      return { type: "DynamicScaling", factor: 1, original_context };
    case "yarn":
      return { type: "YarnScaling", factor, original_context, temperature: 0.1 * Math.log(factor) + 1 };
    default:
      return null;
  }
}

/** The rotation that is asked for; that of the model where nothing else is. */
export function turning(rope: RopeInfo, own: Scaling | null, asked: Asked): Turning {
  const pairs = rope.pairs;
  if (asked.scaling === "own" && !asked.base) return { inverse: rope.inverse, pairs, temperature: temperature(own) };
  const scaling = scalingOf(asked, own);
  const base = asked.base || rope.theta;
  // Dynamic NTK stretches by the length of the text: here, as many times the context as the factor says.
  const horizon = asked.scaling === "ntk" ? asked.context * asked.factor : asked.context;
  return { inverse: inverse(rope.width, base, scaling, horizon), pairs, temperature: temperature(scaling) };
}

/** The query of one token and the key of another [width], the rotary features first. */
export function vectors(tile: Tile, query: number, key: number): { query: Float64Array; key: Float64Array } {
  const [, tokens, width] = tile.shape as [number, number, number];
  const first = typeof tile.note["first"] === "number" ? tile.note["first"] : 0;
  const take = (which: number, token: number) => {
    const at = (which * tokens + token) * width;
    const all = tile.values.subarray(at, at + width);
    return Float64Array.from([...all.subarray(first), ...all.subarray(0, first)]);
  };
  return { query: take(0, query), key: take(1, key) };
}

/** Of each pair what it adds to q k when the query stands `distance` after the key: cos and sin parts. */
export interface Part {
  cos: number;
  sin: number;
}

/** The parts of all pairs, and what the features that are not rotated add. */
export function parts(query: ArrayLike<number>, key: ArrayLike<number>, turns: Turning): { pairs: Part[]; rest: number } {
  const width = 2 * turns.inverse.length;
  const grown = turns.temperature ** 2;
  const pairs = turns.inverse.map((_, pair) => {
    const [a, b] = places(pair, width, turns.pairs);
    return {
      cos: grown * (query[a]! * key[a]! + query[b]! * key[b]!),
      sin: grown * (query[a]! * key[b]! - query[b]! * key[a]!),
    };
  });
  let rest = 0;
  for (let at = width; at < query.length; at++) rest += query[at]! * key[at]!;
  return { pairs, rest };
}

/** What one pair adds at a distance. */
export function share(part: Part, angle: number): number {
  return part.cos * Math.cos(angle) + part.sin * Math.sin(angle);
}

/** q k at a distance: a sum of waves, one for each pair. */
export function product(all: { pairs: readonly Part[]; rest: number }, distance: number, turns: Turning): number {
  return turns.inverse.reduce((sum, turn, pair) => sum + share(all.pairs[pair]!, turn * distance), all.rest);
}

/** At most `count` whole distances from 0 to `most`. */
export function distances(most: number, count = 400): number[] {
  const step = Math.max(1, Math.ceil(most / count));
  return Array.from({ length: Math.floor(most / step) + 1 }, (_, at) => at * step);
}

/** How much an ALiBi score falls with each token, head by head (girih/spec/positions.py). */
export function slopes(heads: number): number[] {
  const whole = 2 ** Math.floor(Math.log2(heads));
  const first = Array.from({ length: whole }, (_, at) => 2 ** ((-8 * (at + 1)) / whole));
  const rest = Array.from({ length: heads - whole }, (_, at) => 2 ** ((-4 * (2 * at + 1)) / whole));
  return [...first, ...rest];
}

/** The code of a position: a sine and a cosine for each wave, side by side (arXiv 1706.03762). */
export function sinusoid(position: number, dim: number): Float64Array {
  const out = new Float64Array(dim);
  for (let pair = 0; pair < dim / 2; pair++) {
    const angle = position * 10_000 ** ((-2 * pair) / dim);
    out[2 * pair] = Math.sin(angle);
    out[2 * pair + 1] = Math.cos(angle);
  }
  return out;
}
