import { expect, test } from "vitest";
import type { BranchInfo, LayerInfo } from "../src/data/types.ts";
import { named, runs } from "../src/parts/stack.tsx";
import { changed, concerns, everywhere, fields, parsed, typed, withoutPath } from "../src/views/whatif/edits.ts";

function layer(index: number, window: number | null): LayerInfo {
  const mixer = { type: "Attention", heads: 4, mask: window ? { type: "Sliding", left: window } : { type: "Causal" } };
  const at = `$.stacks[0].layers[${index}].branches[0].mixer`;
  const branch = { path: `decoder.layers.${index}.attn`, name: "attn", pre: "rms norm", post: null, mixer, at };
  return { index, label: "", branches: [branch as unknown as BranchInfo] };
}

test("neighbouring equal layers are one run", () => {
  const found = runs([layer(0, 16), layer(1, 16), layer(2, null), layer(3, 16)]);
  expect(found.map(named)).toEqual(["layers 0-1", "layer 2", "layer 3"]);
});

test("the plain values of a mixer are its fields", () => {
  expect(fields({ type: "Attention", heads: 4, mask: { type: "Sliding", left: 15 }, sizes: [8, 4] })).toEqual([
    { name: "heads", value: 4 },
    { name: "mask.left", value: 15 },
    { name: "sizes[0]", value: 8 },
    { name: "sizes[1]", value: 4 },
  ]);
});

test("an edit is of every layer that has the branch, once, and is undone by the first value", () => {
  const path = everywhere(layer(2, null).branches[0]!, "heads");
  expect(path).toBe("$.stacks[0].layers[*].branches[attn].mixer.heads");
  const one = changed([], path, 8, 4);
  expect(changed(one, path, 2, 4)).toEqual([{ path, value: 2 }]);
  expect(changed(one, path, 4, 4)).toEqual([]);
  expect(parsed(JSON.stringify(one))).toEqual(one);
  expect(parsed("{not json")).toEqual([]);
});

test("what was typed has the kind of what stood there", () => {
  expect(typed("8", 4)).toBe(8);
  expect(typed("eight", 4)).toBe("eight");
  expect(typed("", 4)).toBe("");
  expect(typed("true", false)).toBe(true);
  expect(typed("12", "silu")).toBe("12");
});

test("an error is of the field at its place, whichever layer", () => {
  const path = "$.stacks[0].layers[*].branches[attn].mixer.kv_heads";
  expect(concerns("$.stacks[0].layers[3].branches[0].mixer.kv_heads", path)).toBe(true);
  expect(concerns("$.stacks[0].layers[3].branches[0].mixer", path)).toBe(true);
  expect(concerns("$.stacks[0].layers[3].branches[0].mixer.heads", path)).toBe(false);
  expect(concerns(null, path)).toBe(false);
  expect(withoutPath("$.stacks[0].layers[0].branches[0].mixer: heads 6 is not a multiple")).toBe("heads 6 is not a multiple");
});
