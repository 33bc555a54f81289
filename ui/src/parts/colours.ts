/** One scale from nothing to all, of even steps for the eye, the same in both themes. */

// From deep indigo over teal to pale gold: lightness grows evenly, and so it reads in grey too.
const STOPS: [number, number, number][] = [
  [38, 24, 74],
  [47, 62, 121],
  [31, 108, 134],
  [42, 152, 131],
  [122, 190, 101],
  [244, 222, 120],
];

/** 256 colours, red, green and blue of each. */
export const COLOURS = new Uint8Array(768);
for (let i = 0; i < 256; i++) {
  const place = (i / 255) * (STOPS.length - 1);
  const first = Math.min(Math.floor(place), STOPS.length - 2);
  for (let c = 0; c < 3; c++) {
    const [from, to] = [STOPS[first]![c]!, STOPS[first + 1]![c]!];
    COLOURS[3 * i + c] = Math.round(from + (to - from) * (place - first));
  }
}

/** The same as pixels of a canvas, opaque, in the order of this machine's bytes. */
export const PIXELS = new Uint32Array(256);
const bytes = new Uint8Array(PIXELS.buffer);
for (let i = 0; i < 256; i++) bytes.set([...COLOURS.subarray(3 * i, 3 * i + 3), 255], 4 * i);

/** The place in the scale of a share between 0 and 1. */
export function step(share: number): number {
  return share > 0 ? Math.min(Math.round(share * 255), 255) : 0;
}

export function css(share: number): string {
  const at = 3 * step(share);
  return `rgb(${COLOURS[at]} ${COLOURS[at + 1]} ${COLOURS[at + 2]})`;
}
