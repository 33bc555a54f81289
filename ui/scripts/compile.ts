/** Entries from their pages: strict, so that what the reader sees is whole. */

import temml from "temml";
import type { Level } from "../src/app/session.ts";
import type { Kind } from "../src/data/types.ts";
import { CATEGORIES, type Entry, LISTS, type Link, type Reference, type Shown } from "../src/reference/types.ts";
import { items, type Line, type Page, PageError, paragraphs, parse } from "./parse.ts";

const LEVELS: Level[] = ["beginner", "intermediate", "advanced"];
const FIELDS = [
  "title", "also", "gist", "lists", "category", "level", "figure", "kinds", "lacking", "code", "related",
];
const SECTIONS = [...LEVELS, "formula", "characteristics", "uses", "examples"];
const KINDS: Kind[] = [
  "mha", "gqa", "mqa", "window", "chunked", "grouped", "latent", "cross", "mlp", "experts", "mamba",
  "mamba2", "delta", "state_space", "conv", "other",
];
export const MOST_BYTES = 100_000;

/** What an entry may point to. */
export interface Known {
  /** Ids of views. */
  views: readonly string[];
  /** Whether a file of the package, or of the tests, exists. */
  exists: (path: string) => boolean;
  /** Whether a file of the tests has a test of this name. */
  tests: (file: string, name: string) => boolean;
}

/** All pages, by file name, as one reference; entries in the order of their titles. */
export function compile(pages: Record<string, string>, known: Known): Reference {
  const read = Object.keys(pages).sort().map((file) => parse(file, pages[file]!));
  const ids = new Set(read.map(idOf));
  const entries = read.map((page) => entryOf(page, ids, known));
  entries.sort((a, b) => (a.title.toLowerCase() < b.title.toLowerCase() ? -1 : 1));
  return { entries };
}

/** The same as one line of JSON; refuses what is larger than its budget. */
export function written(reference: Reference): string {
  const text = JSON.stringify(reference);
  const size = new TextEncoder().encode(text).length;
  if (size > MOST_BYTES) throw new Error(`the reference has ${size} bytes; at most ${MOST_BYTES} fit the page`);
  return text;
}

function idOf(page: Page): string {
  const id = /^([a-z0-9-]+)\.md$/.exec(page.file)?.[1];
  if (!id) throw new PageError(page.file, 1, "a file is named by small letters, digits and dashes: kv-cache.md");
  return id;
}

function entryOf(page: Page, ids: ReadonlySet<string>, known: Known): Entry {
  const { file } = page;
  for (const [name, { at }] of page.fields) {
    if (!FIELDS.includes(name)) throw new PageError(file, at, `no field is named ${name}`);
  }
  for (const [name, { at }] of page.sections) {
    if (!SECTIONS.includes(name)) throw new PageError(file, at, `no section is named ${name}`);
  }
  const lacking = page.fields.get("lacking")?.text ?? null;
  const read = new Reader(page, ids, known);
  return {
    id: idOf(page),
    title: read.field("title").text,
    also: read.list("also"),
    gist: read.field("gist").text,
    lists: read.among("lists", LISTS),
    category: read.among("category", CATEGORIES, true)[0]!,
    level: read.among("level", LEVELS, true)[0]!,
    text: read.levels(LEVELS.map((name) => read.section(name)), LEVELS),
    formula: read.formula(),
    traits: read.parts("characteristics", 2).map(([text, link]) => ({ text: read.prose(text!), link: read.link(link!) })),
    uses: read.items("uses").map((one) => read.prose(one)),
    examples: read.examples(lacking),
    figure: read.figure(lacking),
    lacking,
    code: read.code(lacking),
    related: read.related(),
  };
}

class Reader {
  readonly page: Page;
  readonly ids: ReadonlySet<string>;
  readonly known: Known;

  constructor(page: Page, ids: ReadonlySet<string>, known: Known) {
    this.page = page;
    this.ids = ids;
    this.known = known;
  }

  fail(at: number, what: string): never {
    throw new PageError(this.page.file, at, what);
  }

  field(name: string): Line {
    return this.page.fields.get(name) ?? this.fail(1, `the field ${name} is missing`);
  }

  list(name: string): string[] {
    return (this.page.fields.get(name)?.text ?? "").split(",").map((one) => one.trim()).filter(Boolean);
  }

  among<T extends string>(name: string, all: readonly T[], one = false): T[] {
    const { text, at } = this.field(name);
    const found = one ? [text] : this.list(name);
    for (const word of found) {
      if (!all.includes(word as T)) this.fail(at, `${name}: ${word} is none of ${all.join(", ")}`);
    }
    return found as T[];
  }

  section(name: string): { at: number; lines: Line[] } {
    const found = this.page.sections.get(name);
    if (!found?.lines.some((one) => one.text)) this.fail(found?.at ?? 1, `the section ${name} is missing or empty`);
    return found!;
  }

  items(name: string): Line[] {
    return items(this.page.file, this.section(name).lines);
  }

  /** Items cut at ` | `, so many parts each. */
  parts(name: string, count: number): Line[][] {
    return this.items(name).map(({ text, at }) => {
      const parts = text.split(" | ").map((one) => ({ text: one.trim(), at }));
      if (parts.length !== count) this.fail(at, `${name}: ${parts.length} parts between | where ${count} are meant`);
      return parts;
    });
  }

  /** Text in which `[[id]]` and `[[id|words]]` name entries. */
  prose({ text, at }: Line): string {
    for (const [, id] of text.matchAll(/\[\[([^\]|]*)(?:\|[^\]]*)?\]\]/g)) this.entry(id!, at);
    if ((text.split("`").length - 1) % 2) this.fail(at, "a ` is not closed");
    return text;
  }

  entry(id: string, at: number): string {
    return this.ids.has(id) ? id : this.fail(at, `no entry is named ${id}`);
  }

  levels(found: { at: number; lines: Line[] }[], names: Level[]): Record<Level, string> {
    const texts = found.map(({ at, lines }) => this.prose({ text: paragraphs(lines), at }));
    return Object.fromEntries(names.map((name, index) => [name, texts[index]!])) as Record<Level, string>;
  }

  formula(): Entry["formula"] {
    const held = this.page.sections.get("formula");
    if (!held) return null;
    const lines = held.lines.filter((one) => one.text);
    const said = lines.map((one) => /^(beginner|intermediate|advanced): (.+)$/.exec(one.text));
    const tex = lines.filter((_, index) => !said[index]);
    const read = LEVELS.map((level) => {
      const index = said.findIndex((one) => one?.[1] === level);
      if (index < 0) this.fail(held.at, `formula: nothing for the ${level} (${level}: text)`);
      return { at: held.at, lines: [{ text: said[index]![2]!, at: lines[index]!.at }] };
    });
    if (!tex.length) this.fail(held.at, "formula: there is none");
    return { math: tex.map((one) => this.math(one)).join(""), read: this.levels(read, LEVELS) };
  }

  /** MathML without styles: nothing that a strict policy of the page refuses. */
  math({ text, at }: Line): string {
    try {
      const made = temml.renderToString(text, { displayMode: true, throwOnError: true });
      return made
        .replaceAll(/ (?:class|style|fence|form|separator)="[^"]*"/g, "")
        .replaceAll("<mrow></mrow>", "")
        .replaceAll("></mspace>", "/>")
        // A browser without a font for mathematics leaves the sign of a root out, and says nothing.
        .replaceAll("<msqrt>", '<mrow><mo>√</mo><mrow class="root">')
        .replaceAll("</msqrt>", "</mrow></mrow>");
    } catch (error) {
      return this.fail(at, `formula: ${String((error as Error).message).split("\n")[0]}`);
    }
  }

  link({ text, at }: Line): Link {
    const [kind, ...rest] = text.split(" ");
    if (kind === "figure") return { to: "figure", ...this.view(rest, at) };
    if (kind === "test") {
      const [file, name] = rest.join(" ").split("::");
      if (!file || !name || !this.known.tests(file, name)) this.fail(at, `there is no test ${rest.join(" ")}`);
      return { to: "test", file, name };
    }
    if (kind === "arxiv" && /^\d{4}\.\d{4,5}$/.test(rest[0] ?? "")) {
      const [id, ...words] = rest;
      if (!words.length) this.fail(at, `arxiv ${id}: whose paper is it?`);
      return { to: "arxiv", id: id!, text: words.join(" ") };
    }
    if (kind === "page" && rest[0]?.startsWith("https://") && rest.length > 1) {
      return { to: "page", href: rest[0], text: rest.slice(1).join(" ") };
    }
    return this.fail(at, `not a link (figure VIEW, test FILE::NAME, arxiv ID AUTHORS, page URL WORDS): ${text}`);
  }

  view([view, ...words]: string[], at: number): { view: string; with: Record<string, string> } {
    if (!view || !this.known.views.includes(view)) this.fail(at, `no view is named ${view}`);
    const pairs = words.map((one) => one.split("="));
    for (const pair of pairs) if (pair.length !== 2) this.fail(at, `not a word of an address (name=value): ${pair}`);
    return { view, with: Object.fromEntries(pairs) as Record<string, string> };
  }

  examples(lacking: string | null): Entry["examples"] {
    if (lacking && !this.page.sections.has("examples")) return [];
    return this.parts("examples", 4).map(([name, year, what, link]) => {
      if (!/^(19|20)\d\d$/.test(year!.text)) this.fail(year!.at, `examples: ${year!.text} is no year`);
      return { name: name!.text, year: Number(year!.text), what: this.prose(what!), link: this.link(link!) };
    });
  }

  figure(lacking: string | null): Shown | null {
    const held = this.page.fields.get("figure");
    const kinds = this.page.fields.has("kinds") ? this.among("kinds", KINDS) : [];
    if (!held) {
      if (!lacking) this.fail(1, "neither a figure, nor what is lacking for one");
      return null;
    }
    return { ...this.view(held.text.split(" "), held.at), kinds };
  }

  code(lacking: string | null): string[] {
    const files = this.list("code");
    if (!files.length && !lacking) this.fail(1, "no file of the package implements it");
    for (const file of files) {
      if (!this.known.exists(`src/girih/${file}`)) this.fail(this.field("code").at, `code: there is no ${file}`);
    }
    return files.map((file) => `girih/${file}`);
  }

  related(): string[] {
    return this.list("related").map((id) => this.entry(id, this.field("related").at));
  }
}
