/** The layer and the head that are looked at, and places of a text that the address keeps. */

import { effect, type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { head, layer } from "../app/keys.tsx";
import { type Chosen, chosenOf, placeIn, type Placed } from "./attending.ts";
import { Select } from "./controls.tsx";

export * from "./attending.ts";

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

/** A number that stands for another one, both ways: what is set on either side is seen on the other. */
export function useLinked(
  held: Signal<number>,
  to: (value: number) => number,
  from: (value: number) => number,
  by: readonly unknown[],
): Signal<number> {
  const own = useMemo(() => signal(to(held.peek())), by);
  useEffect(() => {
    // At once, not after the next picture: keys may come faster than pictures.
    const ends = [
      effect(() => {
        const next = to(held.value);
        if (own.peek() !== next) own.value = next;
      }),
      effect(() => {
        const now = own.value;
        if (now !== to(held.peek())) held.value = from(now);
      }),
    ];
    return () => ends.forEach((end) => end());
  }, by);
  return own;
}

/** A place among `count`, kept in the address: -1 there is the last, whatever the count is. */
export function usePlace(held: Signal<number>, count: number): Signal<number> {
  return useLinked(held, (value) => placeIn(value, count), (value) => value, [count]);
}
