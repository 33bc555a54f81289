/** Numbers as people read them. */

import type { Num, Unit } from "../data/types.ts";

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB"];
const LARGE = ["", "k", "M", "G", "T", "P", "E"];

function scaled(value: number, by: number, names: string[]): [string, string] {
  let place = 0;
  let rest = Math.abs(value);
  while (rest >= by && place < names.length - 1) {
    rest /= by;
    place += 1;
  }
  const signed = value < 0 ? -rest : rest;
  return [digits(signed), names[place]!];
}

/** At most four digits that count; whole numbers below 10,000 as they are. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 10_000) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  const places = size >= 100 ? 1 : size >= 10 ? 2 : 3;
  return String(Number(value.toFixed(places)));
}

/** Bytes with their unit, binary (MiB) or decimal (MB). */
export function bytes(value: number, units: "MiB" | "MB" = "MiB"): string {
  const [text, name] = units === "MiB" ? scaled(value, 1024, BINARY) : scaled(value, 1000, DECIMAL);
  return `${text} ${name}`;
}

export function count(value: number): string {
  const [text, name] = scaled(value, 1000, ["", "k", "million", "billion", "trillion"]);
  return name ? `${text} ${name}` : text;
}

export function number(value: number, unit: Unit, units: "MiB" | "MB" = "MiB"): string {
  switch (unit) {
    case "B":
      return bytes(value, units);
    case "B/s":
      return `${bytes(value, units)}/s`;
    case "params":
      return count(value);
    case "FLOP":
    case "FLOP/s": {
      const [text, name] = scaled(value, 1000, LARGE);
      return `${text} ${name}${unit}`;
    }
    case "s":
      return value !== 0 && Math.abs(value) < 1 ? `${digits(value * 1000)} ms` : `${digits(value)} s`;
    case "%":
      return `${digits(value)} %`;
    case "":
      return digits(value);
    default:
      return `${digits(value)} ${unit}`;
  }
}

export function shown(one: Num, units: "MiB" | "MB" = "MiB"): string {
  return number(one.value, one.unit, units);
}

/** A computed number of the page's own. */
export function computed(
  value: number,
  unit: Unit,
  expr: string,
  inputs: Record<string, number | string>,
  source?: string,
): Num {
  return { value, unit, kind: "computed", expr, inputs, source: source ?? null };
}

/** The formula with the values in place of the names. */
export function filled(one: Num): string | null {
  if (!one.expr || !one.inputs) return null;
  let out = one.expr;
  for (const name of Object.keys(one.inputs).sort((a, b) => b.length - a.length)) {
    const value = one.inputs[name]!;
    const text = typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 6 }) : value;
    out = out.replace(new RegExp(`(?<![\\w.])${name}(?![\\w])`, "g"), text);
  }
  return out === one.expr ? null : out;
}
