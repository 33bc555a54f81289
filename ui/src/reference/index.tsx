/** The reference: its index, or one of its entries. */

import { Failed, useAsked, Waiting } from "../parts/figure.tsx";
import { param } from "../app/url.ts";
import { source } from "../data/source.ts";
import { EntryPage } from "./entry.tsx";
import { IndexPage } from "./listing.tsx";
import type { Reference } from "./types.ts";
import "./reference.css";

/** The id of the entry that is read; "" is the index. */
export const entry = param("e", "");

let held: Promise<Reference> | null = null;

/** The whole reference, asked for once. */
function load(): Promise<Reference> {
  if (!held) {
    held = source.json<Reference>("GET", "reference.json");
    held.catch(() => (held = null));
  }
  return held;
}

export function ReferenceView() {
  const { value, error } = useAsked(load, []);
  if (error) return <><h1>Reference</h1><Failed error={error} /></>;
  if (!value) return <><h1>Reference</h1><Waiting text="Opening the reference." /></>;
  const id = entry.value;
  const found = value.entries.find((one) => one.id === id);
  if (found) return <EntryPage key={id} entry={found} all={value.entries} />;
  return <IndexPage entries={value.entries} lost={id || null} />;
}
