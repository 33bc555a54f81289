/** An entry of the reference, as its compiled file holds it. */

import type { Level } from "../app/session.ts";
import type { Kind } from "../data/types.ts";

export const CATEGORIES = [
  "Neural network architectures",
  "Generative models",
  "Attention mechanisms and position encodings",
  "Interactive visualisations",
  "Tooling and application patterns",
] as const;
export type Category = (typeof CATEGORIES)[number];

export const LISTS = ["glossary", "card"] as const;
export type List = (typeof LISTS)[number];

/** What a sentence rests on. */
export type Link =
  | { to: "figure"; view: string; with: Record<string, string> }
  | { to: "test"; file: string; name: string }
  | { to: "arxiv"; id: string; text: string }
  | { to: "page"; href: string; text: string };

export interface Trait {
  text: string;
  link: Link;
}

export interface Example {
  name: string;
  year: number;
  what: string;
  link: Link;
}

/** A live figure: a view, the words of its address, and the mixers that it needs. */
export interface Shown {
  view: string;
  with: Record<string, string>;
  kinds: Kind[];
}

export interface Entry {
  id: string;
  title: string;
  /** Other names that it is found by. */
  also: string[];
  /** What it is, in one short line. */
  gist: string;
  lists: List[];
  category: Category;
  level: Level;
  text: Record<Level, string>;
  formula: { math: string; read: Record<Level, string> } | null;
  traits: Trait[];
  uses: string[];
  examples: Example[];
  figure: Shown | null;
  /** What girih does not run yet, in one sentence; then there may be no figure and no file. */
  lacking: string | null;
  /** Files of the package that implement it. */
  code: string[];
  related: string[];
}

export interface Reference {
  entries: Entry[];
}
