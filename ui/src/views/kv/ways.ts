/** One shape, and the ways in which attention of that shape, or a scan, may remember. */

import { type Kept, divisors } from "../../numbers/kv.ts";

export interface Shape {
  layers: number;
  heads: number;
  kv_heads: number;
  head_dim: number;
  window: number;
  kv_rank: number;
  rope_dim: number;
  states: number;
}

/** The figure that everybody knows, and for what it leaves open what models of its time have. */
export const CLASSIC: Shape = {
  layers: 32, heads: 32, kv_heads: 8, head_dim: 128, window: 4096, kv_rank: 512, rope_dim: 64, states: 16,
};

export interface Way {
  id: string;
  name: string;
  /** What sets it apart, in a few words. */
  how: string;
  kept: Kept;
  /** The mixer of a spec that remembers so, to be measured. */
  mixer: Record<string, unknown>;
}

/** As many kept heads as asked, or the next fewer that share the query heads evenly. */
export function fitting(heads: number, kv_heads: number): number {
  return divisors(heads).find((one) => one <= kv_heads) ?? 1;
}

function attention(shape: Shape, kv_heads: number, window: number | null): Pick<Way, "kept" | "mixer"> {
  const { layers, heads, head_dim } = shape;
  const mask = window === null ? {} : { mask: { type: "Sliding", left: window - 1 } };
  return {
    kept: { how: "heads", layers, kv_heads, key_dim: head_dim, value_dim: head_dim, window },
    mixer: { type: "Attention", heads, kv_heads, head_dim, ...mask },
  };
}

export function ways(shape: Shape): Way[] {
  const kv = fitting(shape.heads, shape.kv_heads);
  return [
    { id: "mha", name: "MHA", how: `${shape.heads} kept heads`, ...attention(shape, shape.heads, null) },
    { id: "gqa", name: "GQA", how: `${kv} kept heads`, ...attention(shape, kv, null) },
    { id: "mqa", name: "MQA", how: "1 kept head", ...attention(shape, 1, null) },
    { id: "mla", name: "MLA", how: `a latent of ${shape.kv_rank} + ${shape.rope_dim}`, ...latent(shape) },
    { id: "window", name: "Window", how: `${kv} kept heads, ${shape.window.toLocaleString("en")} tokens`, ...attention(shape, kv, shape.window) },
    { id: "ssm", name: "SSM", how: `Mamba, ${shape.states} states a channel`, ...scan(shape) },
  ];
}

function latent({ layers, heads, head_dim, kv_rank, rope_dim }: Shape): Pick<Way, "kept" | "mixer"> {
  return {
    kept: { how: "latent", layers, kv_rank, rope_dim, heads, key_dim: head_dim + rope_dim, value_dim: head_dim },
    mixer: {
      type: "LatentAttention", heads, kv_rank, plain_dim: head_dim, rope_dim, value_dim: head_dim,
      norm: { type: "RMSNorm", eps: 1e-6 },
    },
  };
}

const TAPS = 4;

/** A Mamba with twice as many channels as the heads are wide together, as its authors have it. */
function scan({ layers, heads, head_dim, states }: Shape): Pick<Way, "kept" | "mixer"> {
  const inner = 2 * heads * head_dim;
  return {
    kept: { how: "fixed", layers, bytes: 4 * inner * (states + TAPS - 1) },
    mixer: { type: "Mamba", inner, states, rank: Math.ceil((heads * head_dim) / 16), conv: { type: "ShortConv", width: TAPS } },
  };
}

/** A model of nothing but such layers. */
export function specOf(way: Way): Record<string, unknown> {
  const layer = { type: "Layer", branches: [{ type: "Branch", name: "attn", mixer: way.mixer }] };
  const stack = { type: "Stack", name: "decoder", dim: 64, input: { type: "Tokens", vocab: 2 } };
  return { version: 1, type: "Model", stacks: [{ ...stack, layers: [{ repeat: way.kept.layers, of: layer }] }] };
}
