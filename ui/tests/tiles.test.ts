import { expect, test } from "vitest";
import { corners, lines, rosette, type TileName, TILES } from "../src/reference/tiles.ts";

const names = Object.keys(TILES) as TileName[];

test.each(names)("a %s is closed, and its lines join the middles of its edges", (name) => {
  const points = corners(TILES[name], [2, 1], 0.3);
  points.forEach(([x, y], index) => {
    const [a, b] = points[(index + 1) % points.length]!;
    expect(Math.hypot(a - x, b - y)).toBeCloseTo(1, 9);
  });
  const found = lines(points);
  expect(found).toHaveLength(points.length);
  const middles = points.map(([x, y], index) => {
    const [a, b] = points[(index + 1) % points.length]!;
    return `${((x + a) / 2).toFixed(6)} ${((y + b) / 2).toFixed(6)}`;
  });
  const ends = found.flatMap((one) => [one[0]!, one[2]!]).map(([x, y]) => `${x.toFixed(6)} ${y.toFixed(6)}`);
  expect(ends.sort()).toEqual([...middles, ...middles].sort());
});

test("ten pentagons fit around a decagon: their lines go on from its own", () => {
  const { line } = rosette(10);
  expect(line.split("M").slice(1)).toHaveLength(10 + 10 * 5);
  // Each middle of the decagon's edges ends two lines of its own and two of a pentagon.
  expect(line.match(/[ML]0\.0 -15\.4(?=[ML])/g)?.length).toBe(4);
});
