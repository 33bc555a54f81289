/** Raw bytes of an array, and the numbers in them. */

import type { Tile, TileHead } from "./types.ts";

export interface Packed {
  tile: TileHead;
  bytes?: Uint8Array;
  base64?: string;
}

export function decode(packed: Packed): Tile {
  const { shape, dtype, scale, offset, note } = packed.tile;
  const bytes = packed.bytes ?? unpacked(packed.base64 ?? "");
  const count = shape.reduce((product, size) => product * size, 1);
  const width = { f32: 4, f16: 2, u8: 1 }[dtype];
  if (bytes.length !== count * width) {
    throw new Error(`a tile of ${shape.join(" x ")} ${dtype} has ${bytes.length} bytes`);
  }
  return { values: read(bytes, dtype, count, scale, offset), shape, note };
}

function read(
  bytes: Uint8Array,
  dtype: TileHead["dtype"],
  count: number,
  scale: number,
  offset: number,
): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    if (dtype === "f32") values[i] = view.getFloat32(4 * i, true);
    else if (dtype === "f16") values[i] = half(view.getUint16(2 * i, true));
    else values[i] = bytes[i]! * scale + offset;
  }
  return values;
}

/** A number of IEEE 754 half precision. */
export function half(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export function base64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) {
    text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return btoa(text);
}

function unpacked(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
