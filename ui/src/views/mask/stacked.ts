/** Masks of layers on top of each other, and how far word travels through them. */

import type { MaskInfo, Num } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";

/** The masks of a stack, the lowest layer first. */
export function stacked(one: MaskInfo, layers: number, every: number): MaskInfo[] {
  return Array.from({ length: layers }, (_, i) => (every && (i + 1) % every === 0 ? { kind: "causal" } : one));
}

/** How many tokens can reach one in a text without end; null for all that came before. */
export function unbounded(masks: readonly MaskInfo[]): Num | null {
  const inputs: Record<string, number> = {};
  const steps = new Map<number, number>();
  for (const one of masks) {
    if (one.kind !== "sliding") return null;
    const far = one.left + one.right;
    steps.set(far, (steps.get(far) ?? 0) + 1);
  }
  let value = 1;
  const terms = [...steps].map(([far, times], i) => {
    value += far * times;
    Object.assign(inputs, { [`layers_${i}`]: times, [`others_${i}`]: far });
    return `layers_${i} * others_${i}`;
  });
  return computed(value, "tokens", ["1", ...terms].join(" + "), inputs, "girih/spec/masks.py Sliding");
}
