/** The tensors of a model in groups: what they are part of. */

import type { BranchInfo, SpecInfo, TensorInfo } from "../../data/types.ts";
import { KINDS, role } from "../../parts/stack.tsx";

/** What a tensor is for, as a colour shows it. */
export type Role = "mixing" | "scan" | "inner" | "table";

/** One tensor, or equal ones of several layers where there are too many to draw. */
export interface Tile {
  name: string;
  count: number;
  kind: Role;
  tensor: TensorInfo;
  params: number;
  bytes: number;
}

export interface Group {
  name: string;
  /** Of its tiles, where they are all of one. */
  kind: Role | "layer";
  tiles: Tile[];
  params: number;
  bytes: number;
}

const MOST_TILES = 1500;

function groupOf(name: string, branches: readonly BranchInfo[]): { name: string; kind: Role } {
  const branch = branches.find((one) => name.startsWith(`${one.path}.`));
  if (branch) return { name: KINDS[branch.kind], kind: role(branch.kind) };
  if (/\.embed\./.test(name)) return { name: "embedding", kind: "table" };
  if (/\.head\./.test(name)) return { name: "head", kind: "table" };
  return { name: "norms and the rest", kind: "table" };
}

/** The layer of a tensor; of which stack, where there are several. */
function layerOf(name: string, stacks: number): Pick<Group, "name" | "kind"> | null {
  const found = /^(\w+)\.layers\.(\d+)\./.exec(name);
  return found && { name: `${stacks > 1 ? `${found[1]} ` : ""}layer ${found[2]}`, kind: "layer" };
}

/** All tensors by what they belong to, the largest group first, the largest tensor first in each. */
export function grouped(spec: SpecInfo, by: "params" | "bytes", parts: "role" | "layer" = "role"): Group[] {
  const branches = spec.stacks.flatMap((stack) => stack.layers.flatMap((layer) => layer.branches));
  const tiles = spec.tensors.map((tensor) => {
    const { name, params, bytes } = tensor;
    return { name, count: 1, kind: groupOf(name, branches).kind, tensor, params, bytes };
  });
  const groups = new Map<string, Group>();
  for (const tile of tiles) {
    const of = (parts === "layer" && layerOf(tile.name, spec.stacks.length)) || groupOf(tile.name, branches);
    const held = groups.get(of.name) ?? { ...of, tiles: [], params: 0, bytes: 0 };
    groups.set(of.name, held);
    held.tiles.push(tile);
    held.params += tile.params;
    held.bytes += tile.bytes;
  }
  const out = [...groups.values()].map((one) => ({ ...one, tiles: tiles.length > MOST_TILES ? merged(one.tiles) : one.tiles }));
  for (const one of out) one.tiles.sort((a, b) => b[by] - a[by]);
  return out.sort((a, b) => b[by] - a[by]);
}

/** Equal tensors of all layers as one tile. */
export function merged(tiles: readonly Tile[]): Tile[] {
  const found = new Map<string, Tile>();
  for (const tile of tiles) {
    const name = tile.name.replace(/\.layers\.\d+\./, ".layers.*.");
    const key = `${name} ${tile.tensor.shape} ${tile.tensor.format}`;
    const held = found.get(key);
    if (held) {
      held.count += 1;
      held.params += tile.params;
      held.bytes += tile.bytes;
    } else {
      found.set(key, { ...tile, name });
    }
  }
  return [...found.values()];
}
