/** What a run's state holds, by the kind of layer: the bands of the ledger. */

import type { Cache } from "../data/run.ts";
import type { Kind, Num } from "../data/types.ts";

export type BandName = "all tokens" | "a window" | "chunks" | "windows and representatives" | "latents" | "fixed";

const OF: Partial<Record<Kind, BandName>> = {
  window: "a window",
  chunked: "chunks",
  grouped: "windows and representatives",
  latent: "latents",
  mamba: "fixed",
  mamba2: "fixed",
  delta: "fixed",
  state_space: "fixed",
  conv: "fixed",
};

export interface Band {
  name: BandName;
  layers: number[];
}

/** The layers of a run by what they remember, in the order in which they first appear. */
export function bands(layers: readonly { kind: Kind }[]): Band[] {
  const out: Band[] = [];
  layers.forEach(({ kind }, index) => {
    const name = OF[kind] ?? "all tokens";
    const held = out.find((one) => one.name === name);
    if (held) held.layers.push(index);
    else out.push({ name, layers: [index] });
  });
  return out;
}

export function sum(values: readonly number[], of?: readonly number[]): number {
  return of ? of.reduce((total, index) => total + (values[index] ?? 0), 0) : values.reduce((a, b) => a + b, 0);
}

/** Bytes that the last token added, by band. */
export function added(caches: readonly Cache[], at: number, band: Band): number {
  const now = caches[at];
  if (!now) return 0;
  return sum(now.used, band.layers) - (at ? sum(caches[at - 1]!.used, band.layers) : 0);
}

function measured(value: number, source: string, note: string | null = null): Num {
  return { value, unit: "B", kind: "measured", source, note };
}

/** Why more is allocated than holds something, in words; null where it is not. */
export function spare(now: Cache, layers: readonly { kind: Kind }[]): string | null {
  const all = bands(layers).map(({ name, layers: of }) => ({ name, more: sum(now.allocated, of) - sum(now.used, of) }));
  const more = all.filter((one) => one.more > 0);
  const reasons = [
    more.some((one) => one.name !== "fixed") && `room for ${now.capacity.toLocaleString("en")} tokens is taken at once`,
    more.some((one) => one.name === "fixed") && "what is fixed has a second place, which a step writes while it reads the first",
  ].filter(Boolean);
  return reasons.length ? reasons.join("; ") : null;
}

/** What one band holds, measured and as the spec has it. */
export function held(now: Cache, { layers }: Band): Record<"used" | "predicted", Num> {
  return { used: used(sum(now.used, layers)), predicted: predicted(sum(now.predicted, layers), now.tokens) };
}

function used(value: number): Num {
  return measured(value, "girih/state/storage.py State.ledger: what holds something");
}

function predicted(value: number, tokens: number): Num {
  return {
    value, unit: "B", kind: "computed", expr: "sum of the layers' slots at this many tokens",
    inputs: { tokens }, source: "girih/spec/cost.py",
  };
}

/** Used, allocated and process beside what was predicted, with the reason where two differ. */
export function account(
  caches: readonly Cache[], at: number, layers: readonly { kind: Kind }[],
): Record<"used" | "predicted" | "allocated" | "process", Num> {
  const now = caches[at]!;
  return {
    used: used(sum(now.used)),
    predicted: predicted(sum(now.predicted), now.tokens),
    allocated: measured(sum(now.allocated), "the nbytes of the state's own tensors", spare(now, layers)),
    process: measured(
      now.process - caches[0]!.process, "the resident memory of the process, since the prompt was read",
      "pages that were there before are used again, so it may stay at 0 or fall",
    ),
  };
}
