/** The layers of a model that attend, and the one of their heads that is looked at. */

import type { BranchInfo, Kind, MaskInfo, Num, SpecInfo } from "../data/types.ts";

/** Mixers in which the tokens of a text look at one another. */
export const ATTENTION: readonly Kind[] = ["gqa", "mha", "mqa", "window", "chunked", "grouped", "latent"];

export interface Placed {
  layer: number;
  branch: BranchInfo;
}

/** The attention of each layer of the first stack that has any. */
export function attending(spec: SpecInfo): Placed[] {
  for (const stack of spec.stacks) {
    const found = stack.layers.flatMap(({ index, branches }) => {
      const branch = branches.find((one) => ATTENTION.includes(one.kind));
      return branch ? [{ layer: index, branch }] : [];
    });
    if (found.length) return found;
  }
  return [];
}

/** What the tokens of a branch may see. */
export function maskOf(branch: BranchInfo): MaskInfo {
  return branch.mask ?? { kind: "causal" };
}

export interface Chosen extends Placed {
  head: number;
}

/** The layer and head that the address names; where that layer does not attend, the next that does. */
export function chosenOf(list: readonly Placed[], wanted: number, asked: number): Chosen {
  const placed = list.find((one) => one.layer >= wanted) ?? list[list.length - 1]!;
  return { ...placed, head: Math.max(0, Math.min(asked, (placed.branch.heads ?? 1) - 1)) };
}

/** A place in a list of `count`: below zero is counted from its end. */
export function placeIn(value: number, count: number): number {
  const place = value < 0 ? count + value : value;
  return Math.max(0, Math.min(Math.round(place), count - 1));
}

/** A number that was read off the running model. */
export function measured(value: number, unit: Num["unit"], expr: string, note?: string, source?: string): Num {
  return { value, unit, kind: "measured", expr, inputs: null, source: source ?? null, note: note ?? null };
}
