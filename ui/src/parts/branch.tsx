/** Which layer of the chosen model a view looks at, among those that have what it shows. */

import { layer } from "../app/keys.tsx";
import { spec } from "../app/session.ts";
import type { BranchInfo, Kind } from "../data/types.ts";
import { Select } from "./controls.tsx";

export interface Placed {
  index: number;
  branch: BranchInfo;
}

/** The branches of these kinds in the first stack, by layer. */
export function placed(kinds: readonly Kind[]): Placed[] {
  const layers = spec.value?.stacks[0]?.layers ?? [];
  return layers.flatMap((one) =>
    one.branches.filter((branch) => kinds.includes(branch.kind)).map((branch) => ({ index: one.index, branch })),
  );
}

/** The one of the layer that is looked at; of the next layer that has one, or the last. */
export function chosen(all: readonly Placed[]): Placed | null {
  return all.find((one) => one.index >= layer.value) ?? all.at(-1) ?? null;
}

export function LayerSelect({ all }: { all: readonly Placed[] }) {
  const now = chosen(all);
  if (!now) return null;
  return (
    <Select
      label="Layer"
      value={String(now.index)}
      options={all.map((one) => [String(one.index), String(one.index)] as const)}
      set={(index) => (layer.value = Number(index))}
    />
  );
}
