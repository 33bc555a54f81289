/** Bytes of what a model remembers: the rules of girih/spec/cost.py state_bytes, held to them by vectors.json. */

import type { BranchInfo, Num, SpecInfo } from "../data/types.ts";
import { computed } from "./format.ts";
import { spansOf } from "./masks.ts";

/** What is remembered by `layers` equal layers. */
export type Kept = { layers: number; label?: string } & (
  | { how: "heads"; kv_heads: number; key_dim: number; value_dim: number; window: number | null; once?: boolean }
  | { how: "latent"; kv_rank: number; rope_dim: number; heads: number; key_dim: number; value_dim: number }
  | { how: "grouped"; kv_heads: number; head_dim: number; sizes: number[] }
  /** The same at any length: scans, in float32 whatever the format. */
  | { how: "fixed"; bytes: number }
);

export const FORMATS = ["float32", "bfloat16", "float16", "int8", "int4"] as const;
export type StateFormat = (typeof FORMATS)[number];

/** How an engine keeps it. exact: as girih does. Others differ where their name says so. */
export const POLICIES = ["exact", "paged", "full", "expanded"] as const;
export type Policy = (typeof POLICIES)[number];
export const POLICY_TEXT: Record<Policy, string> = {
  exact: "as this engine keeps it: what is seen again, and no more",
  paged: "in pages of 16 tokens, the last one not full",
  full: "windows keep every token, as where a mask alone makes the window",
  expanded: "latents written out as the keys and values of every head",
};
export const PAGE = 16;

export interface Use {
  tokens: number;
  batch?: number;
  format?: StateFormat;
  policy?: Policy;
  /** Entries of another stack that cross attention sees. */
  sources?: number;
}

/** The figure that everybody knows: 32 layers, heads of 128, 16 bits, 6,400 tokens. */
export const CLASSIC = { layers: 32, heads: 32, head_dim: 128, tokens: 6400, batch: 1, format: "float16" } as const;

const LEVELS: Partial<Record<StateFormat, { bits: number; group: number }>> = {
  int8: { bits: 8, group: 64 },
  int4: { bits: 4, group: 32 },
};

/** Bytes of `width` numbers that lie together; the bounds of each group of int8 and int4 count 4. */
export function rowBytes(width: number, format: StateFormat): number {
  const levels = LEVELS[format];
  if (!levels) return width * (format === "float32" ? 4 : 2);
  return Math.ceil((width * levels.bits) / 8) + 4 * Math.ceil(width / levels.group);
}

/** Bits that one number takes on the average, bounds included. */
export function bitsPerValue(width: number, format: StateFormat): number {
  return (8 * rowBytes(width, format)) / width;
}

/** Bytes of one entry of one layer: of a token, or of a window's representative. */
export function entryBytes(kept: Kept, format: StateFormat = "bfloat16", policy: Policy = "exact"): number {
  switch (kept.how) {
    case "heads":
      return kept.kv_heads * (rowBytes(kept.key_dim, format) + rowBytes(kept.value_dim, format));
    case "grouped":
      return kept.kv_heads * 2 * rowBytes(kept.head_dim, format);
    case "latent":
      return policy === "expanded"
        ? kept.heads * (rowBytes(kept.key_dim, format) + rowBytes(kept.value_dim, format))
        : rowBytes(kept.kv_rank + kept.rope_dim, format);
    default:
      return 0;
  }
}

/** How many entries of a token one sequence has in one layer. */
export function entries(kept: Kept, use: Use): number {
  if (kept.how === "fixed") return 0;
  const policy = use.policy ?? "exact";
  let count = use.tokens;
  if (kept.how === "heads" && kept.once) count = use.sources ?? 0;
  else if (kept.how === "grouped") count = Math.min(count, kept.sizes[0]!);
  else if (kept.how === "heads" && kept.window !== null && policy !== "full") count = Math.min(count, kept.window);
  return policy === "paged" ? Math.ceil(count / PAGE) * PAGE : count;
}

/** The bytes of all that these layers remember of `batch` sequences. */
export function stateBytes(kept: Kept, use: Use): Num {
  const { batch = 1, format = "bfloat16", policy = "exact" } = use;
  const { layers } = kept;
  const source = "girih/spec/cost.py state_bytes";
  if (kept.how === "fixed") {
    const inputs = { layers, bytes: kept.bytes, batch };
    return computed(layers * kept.bytes * batch, "B", "layers * bytes * batch", inputs, source);
  }
  const count = entries(kept, use);
  if (kept.how === "grouped") return groupedBytes(kept, count, use);
  const entry = entryBytes(kept, format, policy);
  const value = layers * entry * count * batch;
  const shared = { layers, entries: count, batch };
  if (kept.how === "latent" && policy !== "expanded") {
    const inputs = { ...shared, kv_rank: kept.kv_rank, rope_dim: kept.rope_dim };
    return written("(kv_rank + rope_dim)", value, entry, kept.kv_rank + kept.rope_dim, format, inputs);
  }
  const [name, heads] = kept.how === "latent" ? ["heads", kept.heads] : ["kv_heads", kept.kv_heads];
  const inputs = { ...shared, [name]: heads, key_dim: kept.key_dim, value_dim: kept.value_dim };
  const numbers = heads * (kept.key_dim + kept.value_dim);
  return written(`${name} * (key_dim + value_dim)`, value, entry, numbers, format, inputs);
}

/** The number with its formula: plain numbers by their width, packed ones by what an entry takes. */
function written(
  words: string,
  value: number,
  entry: number,
  numbers: number,
  format: StateFormat,
  inputs: Record<string, number>,
): Num {
  const source = "girih/spec/cost.py state_bytes";
  if (!LEVELS[format]) {
    const all = { ...inputs, bytes: entry / numbers };
    return computed(value, "B", `layers * ${words} * bytes * entries * batch`, all, source);
  }
  const { layers, entries: count, batch } = inputs as { layers: number; entries: number; batch: number };
  const all = { layers, entries: count, batch, entry };
  const made = computed(value, "B", "layers * entry * entries * batch", all, source);
  return { ...made, note: `an entry in ${format}, with the two bounds of each group of numbers, is ${entry} bytes` };
}

/** Of grouped windows: the tokens of one window, and three numbers a window of each level. */
function groupedBytes(kept: Extract<Kept, { how: "grouped" }>, count: number, use: Use): Num {
  const { batch = 1, format = "bfloat16" } = use;
  const entry = entryBytes(kept, format);
  const windows = spansOf({ kind: "grouped", sizes: kept.sizes })
    .map((size) => Math.floor(use.tokens / size))
    .reduce((sum, one) => sum + (use.policy === "paged" ? Math.ceil(one / PAGE) * PAGE : one), 0);
  const inputs = { layers: kept.layers, entry, entries: count, windows, batch };
  const value = kept.layers * entry * (count + 1.5 * windows) * batch;
  const expr = "layers * entry * (entries + 1.5 * windows) * batch";
  const made = computed(value, "B", expr, inputs, "girih/spec/grouped.py state");
  return { ...made, note: "a window keeps a key, a value and what it gathered: one and a half times a token" };
}

/** The sum over all layers, whose formula names each part. */
export function totalBytes(kept: readonly Kept[], use: Use): Num {
  if (kept.length === 1) return stateBytes(kept[0]!, use);
  const inputs: Record<string, number> = {};
  kept.forEach((one, at) => {
    const name = (one.label ?? one.how).replace(/\W+/g, "_");
    inputs[name in inputs ? `${name}_${at + 1}` : name] = stateBytes(one, use).value;
  });
  const value = Object.values(inputs).reduce((sum, one) => sum + one, 0);
  return computed(value, "B", Object.keys(inputs).join(" + ") || "0", inputs, "girih/spec/cost.py state_bytes");
}

/** What a branch of a loaded spec remembers; null: nothing. */
export function keptOf(branch: BranchInfo, layers = 1): Kept | null {
  const { latent, mask, kv_heads, head_dim, value_dim, heads } = branch;
  if (branch.fixed.value > 0) return { how: "fixed", layers, label: branch.kind, bytes: branch.fixed.value };
  const once = branch.kind === "cross";
  if (kv_heads === null || head_dim === null || !(once || branch.per_token.value)) return null;
  if (latent) {
    const { kv_rank, rope_dim } = latent;
    const dims = { key_dim: head_dim, value_dim: value_dim ?? head_dim };
    return { how: "latent", layers, label: "latent", kv_rank, rope_dim, heads: heads ?? kv_heads, ...dims };
  }
  if (mask?.kind === "grouped" && !mask.ahead) {
    return { how: "grouped", layers, label: "grouped", kv_heads, head_dim, sizes: mask.sizes };
  }
  const label = once ? "cross" : branch.window === null ? "growing" : "window";
  const dims = { kv_heads, key_dim: head_dim, value_dim: value_dim ?? head_dim };
  return { how: "heads", layers, label, ...dims, window: branch.window, once };
}

/** What all layers of a loaded spec remember, equal ones counted together. */
export function keptBy(spec: SpecInfo): Kept[] {
  const found = new Map<string, Kept>();
  for (const stack of spec.stacks) {
    for (const layer of stack.layers) {
      for (const branch of layer.branches) {
        const one = keptOf(branch);
        if (!one) continue;
        const key = JSON.stringify(one);
        const held = found.get(key);
        if (held) held.layers += 1;
        else found.set(key, one);
      }
    }
  }
  return [...found.values()];
}

/** The numbers of kept heads that `heads` query heads can share: its divisors, the largest first. */
export function divisors(heads: number): number[] {
  const out: number[] = [];
  for (let one = heads; one > 0; one -= 1) if (heads % one === 0) out.push(one);
  return out;
}
