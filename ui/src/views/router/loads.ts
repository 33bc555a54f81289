/** How tokens are spread over experts. */

import type { Num } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";

/** How many tokens chose each expert: the cells above zero of each column of [tokens, experts]. */
export function loads(weights: ArrayLike<number>, experts: number): number[] {
  const out = Array<number>(experts).fill(0);
  for (let i = 0; i < weights.length; i++) if (weights[i]! > 0) out[i % experts]! += 1;
  return out;
}

/** The share of all choices that fell on one expert, in percent. */
export function share(counts: readonly number[], expert: number, path: string): Num {
  const all = counts.reduce((sum, one) => sum + one, 0);
  const inputs = { tokens_that_chose_it: counts[expert]!, choices: all };
  const value = all ? (100 * counts[expert]!) / all : 0;
  return { ...computed(value, "%", "100 * tokens_that_chose_it / choices", inputs, path), kind: "measured" };
}

/** The coefficient of variation of the loads: 0 where all experts have as many tokens. */
export function variation(counts: readonly number[], path: string): Num {
  const mean = counts.reduce((sum, one) => sum + one, 0) / counts.length;
  const deviation = Math.sqrt(counts.reduce((sum, one) => sum + (one - mean) ** 2, 0) / counts.length);
  const inputs = { standard_deviation: deviation, mean };
  return { ...computed(mean ? deviation / mean : 0, "", "standard_deviation / mean", inputs, path), kind: "measured" };
}

/** Numbers of experts as the address has them: "3,7". */
export function listed(text: string, count: number): number[] {
  const found = text.split(",").filter(Boolean).map(Number);
  return [...new Set(found)].filter((one) => Number.isInteger(one) && one >= 0 && one < count).sort((a, b) => a - b);
}
