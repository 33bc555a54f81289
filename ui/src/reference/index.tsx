/** The reference: its index, or one of its entries. */

import { Failed, useAsked, Waiting } from "../parts/figure.tsx";
import { param } from "../app/url.ts";
import { source } from "../data/source.ts";
import { EntryPage } from "./entry.tsx";
import { IndexPage } from "./listing.tsx";
import { folded } from "./search.ts";
import type { Entry, Reference } from "./types.ts";
import "./reference.css";

/** The id of the entry that is read; "" is the index. */
export const entry = param("e", "");

let held: Promise<Reference> | null = null;

/** The whole reference, asked for once. */
function load(): Promise<Reference> {
  if (!held) {
    held = source.packed<Reference>("reference.json.gz");
    held.catch(() => (held = null));
  }
  return held;
}

/** The entry of an id, or of another of its names: `mha`, `moe`. */
export function named(id: string, entries: readonly Entry[]): Entry | undefined {
  const asked = folded(id);
  return entries.find((one) => one.id === id) ?? entries.find((one) => one.also.some((name) => folded(name) === asked));
}

export function ReferenceView() {
  const { value, error } = useAsked(load, []);
  if (error) return <><h1>Reference</h1><Failed error={error} /></>;
  if (!value) return <><h1>Reference</h1><Waiting text="Opening the reference." /></>;
  const id = entry.value;
  const found = named(id, value.entries);
  if (found) return <EntryPage key={id} entry={found} all={value.entries} />;
  return <IndexPage entries={value.entries} lost={id || null} />;
}
