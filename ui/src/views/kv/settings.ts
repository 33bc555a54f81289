/** What the bench is set to: kept in the address. */

import { batch as together } from "@preact/signals";
import { param } from "../../app/url.ts";
import type { SpecInfo } from "../../data/types.ts";
import { type StateFormat, FORMATS } from "../../numbers/kv.ts";
import { CLASSIC, type Shape } from "./ways.ts";

const HELD = {
  layers: param("kl", CLASSIC.layers),
  heads: param("kh", CLASSIC.heads),
  kv_heads: param("kk", CLASSIC.kv_heads),
  head_dim: param("kd", CLASSIC.head_dim),
  window: param("kw", CLASSIC.window),
  kv_rank: param("kr", CLASSIC.kv_rank),
  rope_dim: param("ko", CLASSIC.rope_dim),
  states: param("ks", CLASSIC.states),
};
export const held = HELD;
export const tokens = param("kt", 6400);
export const sequences = param("kb", 1);
export const format = param("kf", "float16");

export const TOKENS = [
  1, 16, 64, 256, 512, 1024, 2048, 4096, 6400, 8192, 16384, 32768, 65536, 131072, 262144, 1048576,
];

function whole(value: number): number {
  return Math.max(1, Math.min(Math.round(value) || 1, 1 << 20));
}

export function shape(): Shape {
  const all = Object.entries(HELD).map(([name, { value }]) => [name, whole(value)]);
  return Object.fromEntries(all) as unknown as Shape;
}

export function use() {
  const known = FORMATS.find((one) => one === format.value) ?? "float16";
  return { tokens: whole(tokens.value), batch: whole(sequences.value), format: known as StateFormat };
}

export function classic(): void {
  together(() => {
    for (const [name, one] of Object.entries(HELD)) one.value = CLASSIC[name as keyof Shape];
    tokens.value = 6400;
    sequences.value = 1;
    format.value = "float16";
  });
}

/** The shape of the chosen model's attention, where it has some. */
export function ofModel(spec: SpecInfo): Partial<Shape> | null {
  const stack = spec.stacks[0];
  const branch = stack?.layers.flatMap((one) => one.branches).find((one) => one.heads && one.head_dim && !one.scan);
  if (!stack || !branch) return null;
  return {
    layers: stack.layers.length,
    heads: branch.heads!,
    head_dim: branch.head_dim!,
    kv_heads: branch.latent ? branch.heads! : (branch.kv_heads ?? branch.heads!),
    ...(branch.window ? { window: branch.window } : {}),
    ...(branch.latent ? { kv_rank: branch.latent.kv_rank, rope_dim: branch.latent.rope_dim } : {}),
  };
}

export function take(found: Partial<Shape>): void {
  together(() => {
    for (const [name, value] of Object.entries(found)) HELD[name as keyof Shape].value = value;
  });
}
