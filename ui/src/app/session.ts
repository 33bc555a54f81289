/** What all views have in common: the models, the one that is looked at, the text, the reader. */

import { computed, effect, type Signal, signal } from "@preact/signals";
import { Refused, source } from "../data/source.ts";
import type { Kind, ModelInfo, Models, Read, SpecInfo } from "../data/types.ts";
import { packedText } from "./packing.ts";
import { param } from "./url.ts";

export type Level = "beginner" | "intermediate" | "advanced";
export const LEVELS: Level[] = ["beginner", "intermediate", "advanced"];
export const TEXT = "Elizabeth looked at Mr. Darcy; and Mr. Darcy looked at Elizabeth.";

export const route = param("v", "start");
export const models = signal<Models | null>(null);
export const failure = signal<string | null>(null);
/** The id of the chosen model; "" is the default. */
export const asked = param("m", "");
/** The id of a model that a figure borrows while nobody has chosen one; "" is none. */
export const lent = signal("");
export const model = computed(() => asked.value || lent.value || models.value?.default || "");
export const info = computed(() => models.value?.models.find((one) => one.id === model.value) ?? null);
export const spec = signal<SpecInfo | null>(null);
export const specError = signal<string | null>(null);
export const units: Signal<"MiB" | "MB"> = remembered("units", "MiB");
export const level: Signal<Level> = remembered("level", "beginner");
export const theme: Signal<"auto" | "light" | "dark"> = remembered("theme", "auto");
export const prompt = packedText("p", TEXT);

function remembered<T extends string>(name: string, start: T): Signal<T> {
  let held: string | null = null;
  try {
    held = localStorage.getItem(`girih.${name}`);
  } catch {
    // A page opened from a file may have no storage; then nothing is remembered.
  }
  const one = signal((held ?? start) as T);
  effect(() => {
    const value = one.value;
    try {
      localStorage.setItem(`girih.${name}`, value);
    } catch {
      // As above.
    }
  });
  return one;
}

/** Why something failed, in one line. */
export function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export async function refresh(): Promise<void> {
  try {
    models.value = await source.json<Models>("GET", "api/models");
    failure.value = null;
  } catch (error) {
    failure.value = reason(error);
  }
}

/** The listed model with a mixer of these kinds: tiny ones before others, then the one with least else in it. */
export function sampleOf(kinds: readonly Kind[]): string | null {
  const fits = (models.value?.models ?? []).filter((one) => one.kinds.some((kind) => kinds.includes(kind)));
  const besides = (one: ModelInfo) => one.kinds.filter((kind) => !kinds.includes(kind)).length;
  fits.sort((a, b) => Number(b.sample) - Number(a.sample) || besides(a) - besides(b));
  return fits[0]?.id ?? null;
}

const reads = new Map<string, Promise<Read>>();

/** The tokens of a text in a model; asked for once. */
export function read(id: string, text: string): Promise<Read> {
  const key = `${id}\n${text}`;
  const held = reads.get(key);
  if (held) return held;
  const made = source.json<Read>("POST", "api/read", { model: id, text });
  made.catch(() => reads.delete(key));
  reads.set(key, made);
  return made;
}

/** Do something with a read text; once more with a new one where the first has expired. */
export async function withRead<T>(id: string, text: string, work: (one: Read) => Promise<T>): Promise<T> {
  try {
    return await work(await read(id, text));
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 404 || source.recorded) throw error;
    reads.delete(`${id}\n${text}`);
    return work(await read(id, text));
  }
}

/** Load what is listed and follow the choices; called once. */
export function begin(): void {
  void refresh();
  effect(() => {
    const id = model.value;
    spec.value = null;
    specError.value = null;
    if (!id) return;
    source.json<SpecInfo>("GET", `api/spec/${encodeURIComponent(id)}`).then(
      (found) => {
        if (model.peek() === id) spec.value = found;
      },
      (error: unknown) => {
        if (model.peek() === id) specError.value = reason(error);
      },
    );
  });
  effect(() => {
    const chosen = theme.value;
    if (chosen === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = chosen;
  });
}
