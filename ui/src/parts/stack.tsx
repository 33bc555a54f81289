/** The layers of a model as runs of equal ones. */

import type { BranchInfo, LayerInfo, SpecInfo, StackInfo } from "../data/types.ts";

export interface LayerRun {
  first: number;
  last: number;
  layer: LayerInfo;
}

/** What makes two layers equal: all but where they are. */
export function signature(layer: LayerInfo): string {
  return JSON.stringify(layer.branches.map(({ name, mixer, pre, post }) => [name, mixer, pre, post]));
}

/** Neighbouring equal layers together, in order. */
export function runs(layers: readonly LayerInfo[]): LayerRun[] {
  const out: LayerRun[] = [];
  let before = "";
  for (const layer of layers) {
    const now = signature(layer);
    if (out.length && now === before) out.at(-1)!.last = layer.index;
    else out.push({ first: layer.index, last: layer.index, layer });
    before = now;
  }
  return out;
}

/** `layers 0-29` as one says it. */
export function named(run: { first: number; last: number }): string {
  return run.first === run.last ? `layer ${run.first}` : `layers ${run.first}-${run.last}`;
}

export function branchesOf(spec: SpecInfo): BranchInfo[] {
  return spec.stacks.flatMap((stack) => stack.layers.flatMap((layer) => layer.branches));
}

/** What a kind of mixer is called in running text. */
export const KINDS: Record<BranchInfo["kind"], string> = {
  mha: "multi-head attention",
  gqa: "grouped-query attention",
  mqa: "multi-query attention",
  window: "sliding-window attention",
  chunked: "chunked attention",
  grouped: "grouped-window attention",
  latent: "multi-head latent attention",
  cross: "cross-attention",
  mlp: "feed-forward",
  experts: "mixture of experts",
  mamba: "Mamba scan",
  mamba2: "Mamba-2 scan",
  delta: "gated delta rule",
  state_space: "linear state space",
  conv: "short convolution",
  other: "mixer",
};

/** How a branch is coloured: by what it does for a token. */
export function role(kind: BranchInfo["kind"]): "mixing" | "scan" | "inner" {
  if (kind === "mlp" || kind === "experts") return "inner";
  return ["mamba", "mamba2", "delta", "state_space", "conv"].includes(kind) ? "scan" : "mixing";
}

/** Boxes in the order in which a token passes them. */
export function order(stack: StackInfo): { name: string; run: LayerRun | null }[] {
  return [
    { name: "embedding", run: null },
    ...runs(stack.layers).map((run) => ({ name: named(run), run })),
    { name: "head", run: null },
  ];
}
