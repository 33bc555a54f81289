/** The index of the reference: all entries, searched and sifted as the reader asks. */

import { useEffect, useMemo, useRef } from "preact/hooks";
import { searching } from "../app/keys.tsx";
import { LEVELS } from "../app/session.ts";
import { param } from "../app/url.ts";
import { Choice, Select } from "../parts/controls.tsx";
import { Rosette, Tile } from "./marks.tsx";
import { indexed, search } from "./search.ts";
import { entryLink } from "./text.tsx";
import { CATEGORIES, type Entry } from "./types.ts";

/** Where who is new begins. */
const FIRST = ["transformer", "attention", "kv-cache"];

const asked = param("find", "");
const list = param("list", "all");
const category = param("in", "all");
const hardness = param("for", "all");

function sifted(entries: readonly Entry[]): Entry[] {
  return entries.filter((one) =>
    (list.value === "all" || one.lists.some((name) => name === list.value)) &&
    (category.value === "all" || one.category === CATEGORIES[Number(category.value) - 1]) &&
    (hardness.value === "all" || one.level === hardness.value));
}

export function IndexPage({ entries, lost }: { entries: Entry[]; lost: string | null }) {
  const index = useMemo(() => indexed(entries), [entries]);
  const found = sifted(search(index, asked.value));
  const together = asked.value.trim() !== "";
  document.title = "Reference · girih";
  return (
    <div class="index" onKeyDown={walk}>
      <header class="opening">
        <Rosette />
        <h1>Reference</h1>
        <p class="question">What the words mean, how the parts work, and where to see each in the model at hand.</p>
        <Search first={found[0]} />
        <Sieve />
      </header>
      {lost && <p class="note">There is no entry named {lost}.</p>}
      <p class="count" role="status">{said(found.length, entries.length)}</p>
      {found.length === entries.length && <Beginning entries={entries} />}
      {together ? <List entries={found} marked /> : <Groups entries={found} />}
      {!found.length && (
        <button type="button" onClick={clear}>Show all entries</button>
      )}
    </div>
  );
}

function Beginning({ entries }: { entries: Entry[] }) {
  const path = FIRST.flatMap((id) => entries.filter((one) => one.id === id));
  return (
    <nav class="beginning" aria-label="where to begin">
      New to this? Begin with
      <ol>{path.map((one) => <li key={one.id}><a href={entryLink(one.id)}>{one.title}</a></li>)}</ol>
    </nav>
  );
}

function said(found: number, all: number): string {
  if (found === all) return `${all} entries`;
  return found ? `${found} of ${all} entries` : "Nothing is found by these words and filters.";
}

function clear(): void {
  asked.value = "";
  list.value = category.value = hardness.value = "all";
  document.querySelector<HTMLInputElement>("input[type=search]")?.focus();
}

function Search({ first }: { first: Entry | undefined }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (!searching.value) return;
    field.current?.focus();
    searching.value = false;
  }, [searching.value]);
  return (
    <form role="search" onSubmit={(event) => {
      event.preventDefault();
      if (first) location.hash = entryLink(first.id);
    }}>
      <label class="unseen" for="find">Search the reference</label>
      <input ref={field} id="find" type="search" autocomplete="off" spellcheck={false} placeholder="Search: cache, rotary, experts"
        value={asked.value} onInput={(event) => (asked.value = event.currentTarget.value)} />
      <kbd aria-hidden="true">/</kbd>
    </form>
  );
}

function Sieve() {
  const categories = CATEGORIES.map((one, at) => [String(at + 1), one] as const);
  return (
    <div class="sieve">
      <Choice label="List" value={list.value} set={(one) => (list.value = one)}
        options={[["all", "all"], ["glossary", "glossary"], ["card", "cards"]]} />
      <Choice label="Level" value={hardness.value} set={(one) => (hardness.value = one)}
        options={[["all", "all"], ...LEVELS.map((one) => [one, one] as const)]} />
      <Select label="Category" value={category.value} set={(one) => (category.value = one)}
        options={[["all", "all"], ...categories]} />
    </div>
  );
}

function Groups({ entries }: { entries: Entry[] }) {
  return (
    <>
      {CATEGORIES.map((name) => {
        const own = entries.filter((one) => one.category === name);
        if (!own.length) return null;
        return (
          <section key={name} aria-label={name}>
            <h2><Tile category={name} size={30} />{name}</h2>
            <List entries={own} />
          </section>
        );
      })}
    </>
  );
}

function List({ entries, marked }: { entries: Entry[]; marked?: boolean }) {
  return (
    <ul class="entries">
      {entries.map((one) => (
        <li key={one.id}>
          <a href={entryLink(one.id)}>
            {marked && <Tile category={one.category} size={22} />}
            <b>{one.title}</b>
            <span class="gist">{one.gist}</span>
            <span class="of">{one.level}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}

/** Up and down go from the search field through the entries and back. */
function walk(event: KeyboardEvent): void {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || !(event.currentTarget instanceof HTMLElement)) return;
  const places = [...event.currentTarget.querySelectorAll<HTMLElement>("input[type=search], .entries a")];
  const at = places.indexOf(document.activeElement as HTMLElement);
  const next = places[at + by];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
}
