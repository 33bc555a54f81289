/** The five girih tiles and the lines on them.
 *
 * All edges are of length one. From the middle of each edge two lines leave at 54 degrees, and each
 * ends where it meets another as far from its own beginning (Lu and Steinhardt, Science 315, 2007). */

type Point = readonly [x: number, y: number];

const FIFTH = Math.PI / 5;
const LEAVE = 1.5 * FIFTH;

/** The inner angles of each tile, in 36 degrees. */
export const TILES = {
  decagon: [4, 4, 4, 4, 4, 4, 4, 4, 4, 4],
  pentagon: [3, 3, 3, 3, 3],
  hexagon: [2, 4, 4, 2, 4, 4],
  bowtie: [2, 2, 6, 2, 2, 6],
  rhombus: [2, 3, 2, 3],
} as const;
export type TileName = keyof typeof TILES;

/** The corners of a tile, the way round that has its inside to the left. */
export function corners(angles: readonly number[], from: Point = [0, 0], turn = 0): Point[] {
  const out: Point[] = [];
  let [x, y] = from;
  let way = turn;
  for (const angle of [...angles.slice(1), angles[0]!]) {
    out.push([x, y]);
    x += Math.cos(way);
    y += Math.sin(way);
    way += Math.PI - angle * FIFTH;
  }
  return out;
}

interface Ray {
  from: Point;
  way: number;
}

function rays(points: readonly Point[]): Ray[] {
  return points.flatMap(([x, y], index) => {
    const [a, b] = points[(index + 1) % points.length]!;
    const from: Point = [(x + a) / 2, (y + b) / 2];
    const way = Math.atan2(b - y, a - x);
    return [{ from, way: way + LEAVE }, { from, way: way + Math.PI - LEAVE }];
  });
}

/** How far two lines go until they meet, where both go as far; else null. */
function meet(a: Ray, b: Ray): number | null {
  const [dx, dy] = [b.from[0] - a.from[0], b.from[1] - a.from[1]];
  const cross = Math.sin(b.way - a.way);
  const along = (way: number) => dx * Math.cos(way) + dy * Math.sin(way);
  if (Math.abs(cross) < 1e-6) {
    const far = along(a.way);
    return Math.abs(far - Math.hypot(dx, dy)) < 1e-6 && Math.cos(b.way - a.way) < 0 && far > 1e-6 ? far / 2 : null;
  }
  const first = (dx * Math.sin(b.way) - dy * Math.cos(b.way)) / cross;
  const second = (dx * Math.sin(a.way) - dy * Math.cos(a.way)) / cross;
  return first > 1e-6 && Math.abs(first - second) < 1e-6 ? first : null;
}

/** The lines of a tile: from the middle of an edge to where two meet, to the middle of another. */
export function lines(points: readonly Point[]): Point[][] {
  const all = rays(points);
  const pairs = all.flatMap((a, i) => all.slice(i + 1).flatMap((b) => {
    const far = meet(a, b);
    return far === null ? [] : [{ a, b, far }];
  }));
  pairs.sort((one, other) => one.far - other.far);
  const taken = new Set<Ray>();
  return pairs.flatMap(({ a, b, far }) => {
    if (taken.has(a) || taken.has(b)) return [];
    taken.add(a).add(b);
    return [[a.from, [a.from[0] + far * Math.cos(a.way), a.from[1] + far * Math.sin(a.way)] as Point, b.from]];
  });
}

/** A tile and its lines as paths of an SVG, scaled; `box` is what they fill. */
export function drawn(name: TileName, size: number, turn = 0): { edge: string; line: string; box: string } {
  const points = corners(TILES[name], [0, 0], turn);
  const scaled = (list: readonly Point[]) => list.map(([x, y]) => `${(size * x).toFixed(1)} ${(size * y).toFixed(1)}`).join("L");
  const [xs, ys] = [points.map((one) => size * one[0]), points.map((one) => size * one[1])];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return {
    edge: `M${scaled(points)}Z`,
    line: lines(points).map((one) => `M${scaled(one)}`).join(""),
    box: [left - 1, top - 1, Math.max(...xs) - left + 2, Math.max(...ys) - top + 2].map((one) => one.toFixed(1)).join(" "),
  };
}

/** A decagon with the ten pentagons that fit around it: their lines, as one path. */
export function rosette(size: number): { line: string; box: string } {
  const middle = corners(TILES.decagon, [-0.5, -0.5 / Math.tan(Math.PI / 10)]);
  const ring = middle.map((one, index) => {
    const [x, y] = middle[(index + 1) % 10]!;
    return corners(TILES.pentagon, [x, y], Math.atan2(one[1] - y, one[0] - x));
  });
  const path = [middle, ...ring].flatMap(lines).map(
    (one) => `M${one.map(([x, y]) => `${(size * x).toFixed(1)} ${(size * y).toFixed(1)}`).join("L")}`,
  );
  const reach = 3.3 * size;
  return { line: path.join(""), box: `${-reach} ${-reach} ${2 * reach} ${2 * reach}` };
}
