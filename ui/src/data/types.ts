/** What the server says: the same words as in girih/explore. */

export type Unit =
  | "B" | "params" | "FLOP" | "FLOP/s" | "B/s" | "tokens" | "tokens/s" | "s" | "ms" | "%" | "";

/** A number with where it comes from. */
export interface Num {
  value: number;
  unit: Unit;
  kind: "measured" | "computed" | "published";
  expr?: string | null;
  inputs?: Record<string, number | string> | null;
  source?: string | null;
  note?: string | null;
}

export type Kind =
  | "mha" | "gqa" | "mqa" | "window" | "chunked" | "grouped" | "latent" | "cross" | "mlp"
  | "experts" | "mamba" | "mamba2" | "delta" | "state_space" | "conv" | "other";

export type MaskInfo =
  | { kind: "causal" }
  | { kind: "full" }
  | { kind: "sliding"; left: number; right: number }
  | { kind: "chunked"; size: number }
  | { kind: "grouped"; sizes: number[]; ahead?: boolean }
  | { kind: "prefix"; length: number };

export interface Machine {
  name: string;
  cpu: string;
  cores: number;
  threads: number;
  memory: Num;
  torch: string;
  girih: string;
  date: string;
}

export interface ModelInfo {
  id: string;
  label: string;
  about: string;
  sample: boolean;
  kinds: Kind[];
  parameters: Num;
  weights: Num;
  context: number | null;
  chat: boolean;
  status: "idle" | "loading" | "ready" | "failed";
  error: string | null;
}

export interface Models {
  models: ModelInfo[];
  default: string;
  machine: Machine;
}

export interface RopeInfo {
  theta: number;
  width: number;
  pairs: "halves" | "interleaved";
  scaling: string | null;
  inverse: number[];
}

export interface BranchInfo {
  path: string;
  name: string;
  kind: Kind;
  text: string;
  pre: string | null;
  post: string | null;
  mask: MaskInfo | null;
  heads: number | null;
  kv_heads: number | null;
  head_dim: number | null;
  value_dim: number | null;
  rope: RopeInfo | null;
  latent: { kv_rank: number; rope_dim: number; q_rank: number | null } | null;
  experts: { count: number; top: number; shared: number; hidden: number } | null;
  scan: { channels: number; states: number; heads: number | null } | null;
  params: Num;
  per_token: Num;
  fixed: Num;
  window: number | null;
  mixer: Record<string, unknown>;
  at: string;
}

export interface LayerInfo {
  index: number;
  label: string;
  branches: BranchInfo[];
}

export interface StackInfo {
  name: string;
  dim: number;
  vocab: number;
  tied: boolean;
  context: number | null;
  layers: LayerInfo[];
}

export interface TensorInfo {
  name: string;
  shape: number[];
  axes: string[];
  format: string;
  params: number;
  bytes: number;
}

export interface SpecInfo {
  id: string;
  label: string;
  spec: Record<string, unknown>;
  stacks: StackInfo[];
  tensors: TensorInfo[];
  cost: Record<string, Num>;
}

export interface Priced extends SpecInfo {
  curve: { contexts: number[]; state: number[] };
}

export interface Token {
  id: number;
  text: string;
}

export interface Likely extends Token {
  p: number;
}

export interface Read {
  run: string;
  model: string;
  tokens: Token[];
  prompt: number;
}

export interface RunRequest {
  model: string;
  prompt?: string;
  messages?: { role: string; content: string }[];
  raw?: boolean;
  max_tokens: number;
  temperature: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  seed?: number;
  stop?: string[];
  top?: number;
}

export type RunEvent =
  | { type: "status"; text: string }
  | { type: "run"; run: string; model: string; tokens: Token[]; layers: { path: string; kind: Kind }[] }
  /** `text` is what the answer grows by, which may be nothing; `piece` is the token by itself. */
  | { type: "token"; i: number; id: number; text: string; piece: string; logprob: number; top: Likely[]; ms: number }
  /** What was held back, at the end: the answer grows without a token. */
  | { type: "text"; text: string }
  | {
      type: "cache";
      tokens: number;
      used: number[];
      allocated: number[];
      predicted: number[];
      process: number;
      capacity: number;
    }
  | { type: "done"; reason: string; text: string; numbers: Record<string, Num> }
  | { type: "error"; error: string };

/** What the header of a tile says; values are byte * scale + offset. */
export interface TileHead {
  shape: number[];
  dtype: "f32" | "f16" | "u8";
  scale: number;
  offset: number;
  note: Record<string, unknown>;
}

export interface Tile {
  values: Float32Array;
  shape: number[];
  note: Record<string, unknown>;
}

export interface ComparisonRow {
  role: string;
  a: BranchInfo | null;
  b: BranchInfo | null;
  a_layers: string | null;
  b_layers: string | null;
  changed: { field: string; a: unknown; b: unknown }[];
}

export interface Comparison {
  a: SpecInfo;
  b: SpecInfo;
  rows: ComparisonRow[];
  totals: { name: string; a: Num; b: Num; ratio: number | null }[];
  curves: { contexts: number[]; a: number[]; b: number[] };
}
