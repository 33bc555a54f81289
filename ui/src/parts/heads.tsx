/** The layers of a model that attend, and the one of their heads that is looked at. */

import { useEffect } from "preact/hooks";
import { type Signal, useSignal } from "@preact/signals";
import { head, layer } from "../app/keys.tsx";
import type { BranchInfo, Kind, Num, SpecInfo } from "../data/types.ts";
import { Select } from "./controls.tsx";

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

export interface Chosen extends Placed {
  head: number;
}

/** The layer and head that the address names; where that layer does not attend, the next that does. */
export function chosenOf(list: readonly Placed[], wanted: number, asked: number): Chosen {
  const placed = list.find((one) => one.layer >= wanted) ?? list[list.length - 1]!;
  return { ...placed, head: Math.max(0, Math.min(asked, (placed.branch.heads ?? 1) - 1)) };
}

export function chosen(list: readonly Placed[]): Chosen {
  return chosenOf(list, layer.value, head.value);
}

export function choose(where: number, which: number): void {
  layer.value = where;
  head.value = which;
}

export function HeadPicker({ list }: { list: readonly Placed[] }) {
  const now = chosen(list);
  const heads = now.branch.heads ?? 1;
  return (
    <>
      <Select label="Layer" value={String(now.layer)} set={(one) => (layer.value = Number(one))}
        options={list.map((one) => [String(one.layer), String(one.layer)] as const)} />
      <Select label="Head" value={String(now.head)} set={(one) => (head.value = Number(one))}
        options={Array.from({ length: heads }, (_, one) => [String(one), String(one)] as const)} />
    </>
  );
}

/** A place in a list of `count`: below zero is counted from its end. */
export function placeIn(value: number, count: number): number {
  const place = value < 0 ? count + value : value;
  return Math.max(0, Math.min(Math.round(place), count - 1));
}

/** A number that stands for another one, both ways: what is set on either side is seen on the other. */
export function useLinked(
  held: Signal<number>,
  to: (value: number) => number,
  from: (value: number) => number,
  by: readonly unknown[],
): Signal<number> {
  const own = useSignal(to(held.value));
  useEffect(() => {
    own.value = to(held.value);
  }, [held.value, ...by]);
  useEffect(() => {
    if (own.value !== to(held.peek())) held.value = from(own.value);
  }, [own.value]);
  return own;
}

/** A place among `count`, kept in the address: -1 there is the last, whatever the count is. */
export function usePlace(held: Signal<number>, count: number): Signal<number> {
  return useLinked(held, (value) => placeIn(value, count), (value) => value, [count]);
}

/** A number that was read off the running model. */
export function measured(value: number, unit: Num["unit"], expr: string, note?: string, source?: string): Num {
  return { value, unit, kind: "measured", expr, inputs: null, source: source ?? null, note: note ?? null };
}
