import { expect, test } from "vitest";
import { base64, decode, half } from "../src/data/tile.ts";

test("halves are those of IEEE 754", () => {
  expect([0x3c00, 0xc000, 0x3555, 0x0001, 0x7c00].map(half)).toEqual([1, -2, 0.333251953125, 2 ** -24, Infinity]);
  expect(half(0x7e00)).toBeNaN();
});

test("bytes become numbers by their scale and offset", () => {
  const head = { shape: [1, 3], dtype: "u8" as const, scale: 0.5, offset: -1, note: {} };
  expect([...decode({ tile: head, bytes: new Uint8Array([0, 2, 255]) }).values]).toEqual([-1, 0, 126.5]);
});

test("a recorded tile is the live one", () => {
  const bytes = new Uint8Array(new Float32Array([1.5, -2, 3e-5]).buffer);
  const head = { shape: [3], dtype: "f32" as const, scale: 1, offset: 0, note: {} };
  expect(decode({ tile: head, base64: base64(bytes) })).toEqual(decode({ tile: head, bytes }));
});

test("a tile of the wrong size is refused", () => {
  const head = { shape: [2, 2], dtype: "f32" as const, scale: 1, offset: 0, note: {} };
  expect(() => decode({ tile: head, bytes: new Uint8Array(15) })).toThrow("2 x 2 f32 has 15 bytes");
});
