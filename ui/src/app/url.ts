/** The whole view in the address: `#v=mask&m=tiny-window&l=3`. */

import { batch, effect, type Signal, signal } from "@preact/signals";

type Value = string | number | boolean;

interface Param {
  signal: Signal<Value>;
  start: Value;
}

const params = new Map<string, Param>();
/** Words of the address that mean nothing here. */
export const unknown = signal<string[]>([]);

function asked(): URLSearchParams {
  return new URLSearchParams(location.hash.slice(1));
}

function parsed(text: string | null, start: Value): Value {
  if (text === null) return start;
  if (typeof start === "number") return Number.isFinite(Number(text)) && text ? Number(text) : start;
  if (typeof start === "boolean") return text === "1";
  return text;
}

/** A signal that is kept in the address; the same name is the same signal everywhere.
 *
 * Call it at the top of a module, so that every word of an address is known when it is read. */
export function param<T extends Value>(name: string, start: T): Signal<T extends string ? string : T extends number ? number : boolean>;
export function param(name: string, start: Value): Signal<Value> {
  const held = params.get(name);
  if (held && held.start !== start) throw new Error(`the word ${name} of the address begins as ${held.start} and as ${start}`);
  if (held) return held.signal;
  const made = { signal: signal(parsed(asked().get(name), start)), start };
  params.set(name, made);
  return made.signal;
}

function written(): string {
  const words = new URLSearchParams();
  for (const [name, { signal: one, start }] of params) {
    if (one.value === start) continue;
    words.set(name, typeof one.value === "boolean" ? (one.value ? "1" : "0") : String(one.value));
  }
  return words.toString();
}

/** Follow the address, and keep it true. Called once, when all modules have been read. */
export function follow(): void {
  const read = () => {
    const words = asked();
    for (const [name, { signal: one, start }] of params) one.value = parsed(words.get(name), start);
    unknown.value = [...words.keys()].filter((name) => !params.has(name));
  };
  addEventListener("hashchange", read);
  read();
  let view = params.get("v")?.signal.peek();
  effect(() => {
    const hash = written();
    if (hash === location.hash.slice(1)) return;
    const now = params.get("v")?.signal.peek();
    const to = hash ? `#${hash}` : location.pathname + location.search;
    if (now !== view) history.pushState(null, "", to);
    else history.replaceState(null, "", to);
    view = now;
  });
}

/** Give words their values where the address does not name them. */
export function ensure(words: Record<string, string>): void {
  const named = asked();
  batch(() => {
    for (const [name, text] of Object.entries(words)) {
      const held = params.get(name);
      if (held && !named.has(name)) held.signal.value = parsed(text, held.start);
    }
  });
}

/** The address of another place: the words given over those of now, the rest of a view forgotten. */
export function link(words: Record<string, Value>): string {
  const kept = new URLSearchParams();
  for (const name of ["m", "p"]) {
    const one = params.get(name);
    if (one && one.signal.value !== one.start) kept.set(name, String(one.signal.value));
  }
  for (const [name, value] of Object.entries(words)) kept.set(name, String(value));
  return `#${kept}`;
}
