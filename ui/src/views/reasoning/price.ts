/** What thinking costs: tokens in three spans, what is remembered at the end of each, and time. */

import type { Num, SpecInfo } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { type Kept, keptBy, totalBytes } from "../../numbers/kv.ts";

export interface Span {
  name: string;
  tokens: number;
  /** Bytes of the state when the span ends. */
  held: Num;
  /** Seconds to read or write it. */
  time: Num | null;
}

export interface Speed {
  /** Tokens a second; what reads the prompt may be unknown. */
  prefill: Num | null;
  decode: Num;
}

export function spans(spec: SpecInfo, tokens: readonly [string, number][], speed: Speed): Span[] {
  const kept = keptBy(spec);
  let before = 0;
  return tokens.map(([name, count], index) => {
    before += count;
    const rate = index ? speed.decode : speed.prefill;
    const time = rate && timeOf(count, rate);
    return { name, tokens: count, held: totalBytes(kept, { tokens: before }), time };
  });
}

function timeOf(tokens: number, rate: Num): Num {
  const made = computed(tokens / rate.value, "s", "tokens / speed", { tokens, speed: rate.value });
  const note = rate.kind === "measured" ? "at the speed measured on this machine" : "at the speed that is assumed";
  return { ...made, note };
}

/** The bytes of the state after so many tokens, at even steps up to all of them. */
export function growth(kept: readonly Kept[], tokens: number, steps: number): number[] {
  return Array.from({ length: steps + 1 }, (_, i) => totalBytes(kept, { tokens: Math.round((tokens * i) / steps) }).value);
}
