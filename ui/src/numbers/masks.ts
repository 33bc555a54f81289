/** Which tokens a token sees: the rules of girih/spec/masks.py and grouped.py, held to them by vectors.json. */

import type { MaskInfo, Num } from "../data/types.ts";
import { computed } from "./format.ts";

type Grouped = Extract<MaskInfo, { kind: "grouped" }>;

/** The representative of tokens `first` to `last`, which stands where the last of them does. */
export interface Representative {
  /** 1 for windows of tokens, 2 for groups of windows, ... */
  level: number;
  /** Which of its level, from 0. */
  window: number;
  first: number;
  last: number;
}

export interface Span {
  first: number;
  last: number;
}

/** The tokens that the token at `query` sees itself: all from `first` to `last`, of so many tokens. */
export function span(mask: MaskInfo, query: number, tokens: number): Span {
  const end = tokens - 1;
  switch (mask.kind) {
    case "full":
      return { first: 0, last: end };
    case "sliding":
      return { first: Math.max(0, query - mask.left), last: Math.min(end, query + mask.right) };
    case "chunked":
      return { first: start(query, mask.size), last: query };
    case "grouped": {
      const first = start(query, mask.sizes[0]!);
      return { first, last: mask.ahead ? Math.min(end, first + mask.sizes[0]! - 1) : query };
    }
    case "prefix":
      return { first: 0, last: Math.min(end, Math.max(query, mask.length - 1)) };
    default:
      return { first: 0, last: query };
  }
}

/** Whether the token at one position sees the token at another, of `tokens`. */
export function sees(mask: MaskInfo, query: number, key: number, tokens = Infinity): boolean {
  const { first, last } = span(mask, query, tokens);
  return first <= key && key <= last;
}

/** The representatives that a token sees beside the tokens of its window; none but of grouped windows. */
export function representatives(mask: MaskInfo, query: number, tokens: number): Representative[] {
  if (mask.kind !== "grouped") return [];
  const out: Representative[] = [];
  const spans = spansOf(mask);
  spans.forEach((size, index) => {
    const group = spans[index + 1];
    const from = group ? start(query, group) / size : 0;
    const own = Math.floor(query / size);
    const made = Math.ceil(tokens / size);
    const end = mask.ahead ? Math.min(made, group ? from + group / size : made) : own;
    for (let window = from; window < end; window += 1) {
      if (window === own) continue;
      const last = Math.min(tokens, (window + 1) * size) - 1;
      out.push({ level: index + 1, window, first: window * size, last });
    }
  });
  return out;
}

/** Tokens of a window of each level. */
export function spansOf(mask: Grouped): number[] {
  let size = 1;
  return mask.sizes.map((one) => (size *= one));
}

/** How many keys the token at `query` sees, those of representatives too. */
export function seen(mask: MaskInfo, query: number, tokens: number): Num {
  const { first, last } = span(mask, query, tokens);
  const others = representatives(mask, query, tokens).length;
  const own = { first: first + 1, last: last + 1 };
  const source = mask.kind === "grouped" ? "girih/spec/grouped.py" : "girih/spec/masks.py sees";
  if (!others) return computed(last - first + 1, "tokens", "last - first + 1", own, source);
  const inputs = { ...own, representatives: others };
  return computed(last - first + 1 + others, "tokens", "last - first + 1 + representatives", inputs, source);
}

/** Pairs of a token and a key that it sees, over all of a sequence: what attention has to compute. */
export function pairs(mask: MaskInfo, tokens: number): number {
  const all = (tokens * (tokens + 1)) / 2;
  switch (mask.kind) {
    case "full":
      return tokens * tokens;
    case "sliding":
      return tokens + ramp(tokens, mask.left) + ramp(tokens, mask.right);
    case "chunked":
      return triangles(tokens, mask.size);
    case "prefix": {
      const length = Math.min(mask.length, tokens);
      return all + (length * (length - 1)) / 2;
    }
    case "grouped":
      return groupedPairs(mask, tokens);
    default:
      return all;
  }
}

function groupedPairs(mask: Grouped, tokens: number): number {
  const window = mask.sizes[0]!;
  const rest = tokens % window;
  const inside = (tokens - rest) * window + rest * rest;
  const spans = spansOf(mask);
  return spans.reduce(
    (sum, size, index) => sum + (mask.ahead ? others : earlier)(tokens, size, spans[index + 1]),
    mask.ahead ? inside : triangles(tokens, window),
  );
}

/** How far back, and ahead, what a token holds after these layers (the lowest first) can come from. */
export function reach(masks: readonly MaskInfo[], query: number, tokens: number): Span {
  let { first, last } = { first: query, last: query };
  for (const mask of [...masks].reverse()) {
    const low = widest(mask, first, tokens);
    const high = widest(mask, last, tokens);
    first = Math.min(first, low.first);
    last = Math.max(last, high.last);
  }
  return { first, last };
}

/** What reaches a token in one layer: by representatives all that they stand for. */
function widest(mask: MaskInfo, query: number, tokens: number): Span {
  if (mask.kind !== "grouped") return span(mask, query, tokens);
  return { first: 0, last: mask.ahead ? tokens - 1 : query };
}

/** How many tokens of the past, with itself, can reach a token through so many layers of one mask. */
export function reachOf(mask: MaskInfo, layers: number, query: number, tokens: number): Num {
  const { first, last } = reach(Array<MaskInfo>(layers).fill(mask), query, tokens);
  const value = last - first + 1;
  const whole = value === tokens || first === 0;
  if (mask.kind !== "sliding" || whole) {
    const inputs = { first: first + 1, last: last + 1 };
    return computed(value, "tokens", "last - first + 1", inputs, "girih/spec/masks.py");
  }
  const inputs = { layers, left: mask.left, ahead: last - query };
  return computed(value, "tokens", "1 + layers * left + ahead", inputs, "girih/spec/masks.py Sliding");
}

/** What different people mean by "a window of W". */
export const CONVENTIONS: readonly {
  id: "causal" | "back" | "centred";
  label: string;
  mask: (window: number) => MaskInfo;
}[] = [
  {
    id: "causal",
    label: "W keys, the token itself among them",
    mask: (window) => ({ kind: "sliding", left: window - 1, right: 0 }),
  },
  {
    id: "back",
    label: "W tokens back, and the token itself",
    mask: (window) => ({ kind: "sliding", left: window, right: 0 }),
  },
  {
    id: "centred",
    label: "half of W to each side, and the token itself",
    mask: (window) => ({ kind: "sliding", left: Math.floor(window / 2), right: Math.floor(window / 2) }),
  },
];

/** Where the run of `size` tokens begins in which a token stands. */
function start(query: number, size: number): number {
  return query - (query % size);
}

/** The sum over so many tokens of how many stand before each, `most` at the most. */
function ramp(tokens: number, most: number): number {
  const short = Math.min(tokens, most);
  return (short * (short - 1)) / 2 + (tokens - short) * most;
}

/** Pairs within chunks under a causal mask. */
function triangles(tokens: number, size: number): number {
  const rest = tokens % size;
  return (((tokens - rest) * (size + 1)) + rest * (rest + 1)) / 2;
}

/** The sum of n // size over all n below `tokens`. */
function floors(tokens: number, size: number): number {
  const whole = Math.floor(tokens / size);
  return (size * whole * (whole - 1)) / 2 + (tokens % size) * whole;
}

/** The windows of `size` tokens that are complete before each token, in its group. */
function earlier(tokens: number, size: number, group?: number): number {
  const out = floors(tokens, size);
  return group ? out - (group / size) * floors(tokens, group) : out;
}

/** The windows of `size` tokens that each token sees of its group, not its own. */
function others(tokens: number, size: number, group?: number): number {
  const whole = group ? Math.floor(tokens / group) : 0;
  const rest = group ? tokens % group : tokens;
  const inside = group ? group * (group / size - 1) * whole : 0;
  return inside + rest * (Math.max(1, Math.ceil(rest / size)) - 1);
}
