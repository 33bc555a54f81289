import { expect, test } from "vitest";
import { squarified } from "../src/views/parameters/layout.ts";
import type { SpecInfo } from "../src/data/types.ts";
import { grouped, merged, type Tile } from "../src/views/parameters/tiles.ts";

const WHOLE = { x: 3, y: 5, width: 300, height: 200 };

test.each([[[6, 6, 4, 3, 2, 2, 1]], [[1]], [Array.from({ length: 400 }, (_, i) => 1 + ((i * 7919) % 31))]])(
  "boxes fill the whole, each as large as its number, none over another: %#",
  (values) => {
    const boxes = squarified(values, WHOLE);
    const total = values.reduce((sum, one) => sum + one, 0);
    boxes.forEach((box, i) => {
      expect(box.width * box.height).toBeCloseTo((values[i]! / total) * 60_000, 6);
      expect(box.x).toBeGreaterThanOrEqual(WHOLE.x - 1e-9);
      expect(box.y).toBeGreaterThanOrEqual(WHOLE.y - 1e-9);
      expect(box.x + box.width).toBeLessThanOrEqual(WHOLE.x + WHOLE.width + 1e-6);
      expect(box.y + box.height).toBeLessThanOrEqual(WHOLE.y + WHOLE.height + 1e-6);
    });
    for (const [i, a] of boxes.entries()) {
      for (const b of boxes.slice(i + 1)) {
        const wide = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
        const high = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
        expect(Math.min(wide, high)).toBeLessThan(1e-6);
      }
    }
  },
);

test("equal numbers make squares where they can", () => {
  for (const box of squarified([1, 1, 1, 1, 1, 1], WHOLE)) expect(box.width / box.height).toBeCloseTo(1, 6);
});

test("nothing to draw is drawn as nothing", () => {
  expect(squarified([0, 0], WHOLE).map((one) => one.width)).toEqual([0, 0]);
});

test("equal tensors of layers become one tile", () => {
  const tensor = (name: string, params: number) => ({ name, shape: [params], axes: [], format: "Q4_0", params, bytes: params / 2 });
  const tile = (name: string, params: number): Tile => ({ name, count: 1, kind: "inner", tensor: tensor(name, params), params, bytes: params / 2 });
  const found = merged([tile("d.layers.0.mlp.up", 8), tile("d.layers.11.mlp.up", 8), tile("d.layers.2.mlp.up", 4), tile("d.embed", 9)]);
  expect(found.map((one) => [one.name, one.count, one.params, one.bytes])).toEqual([
    ["d.layers.*.mlp.up", 2, 16, 8],
    ["d.layers.*.mlp.up", 1, 4, 2],
    ["d.embed", 1, 9, 4.5],
  ]);
});

test("tensors go together by role, or by layer in the colours of their roles", () => {
  const tensor = (name: string, params: number) => ({ name, shape: [params], axes: [], format: "F32", params, bytes: 4 * params });
  const branch = (layer: number, name: string, kind: string) => ({ path: `decoder.layers.${layer}.${name}`, name, kind });
  const spec = {
    stacks: [{ layers: [0, 1].map((index) => ({ index, branches: [branch(index, "attn", "gqa"), branch(index, "mlp", "mlp")] })) }],
    tensors: [
      tensor("decoder.embed.weight", 5), tensor("decoder.layers.0.attn.q.weight", 2), tensor("decoder.layers.0.mlp.up.weight", 3),
      tensor("decoder.layers.1.attn.q.weight", 4), tensor("decoder.layers.1.mlp.up.weight", 6), tensor("decoder.norm.weight", 1),
    ],
  } as unknown as SpecInfo;
  const shown = (parts: "role" | "layer") => grouped(spec, "params", parts).map((one) => [one.name, one.params]);
  expect(shown("role").map(([, params]) => params)).toEqual([9, 6, 5, 1]);
  expect(shown("layer")).toEqual([["layer 1", 10], ["embedding", 5], ["layer 0", 5], ["norms and the rest", 1]]);
  expect(grouped(spec, "params", "layer")[0]!.tiles.map((one) => one.kind)).toEqual(["inner", "mixing"]);
});
