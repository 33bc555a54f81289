/** Rectangles whose areas are as given numbers, as square as they can be in rows
 * (Bruls, Huizing and van Wijk, 2000). */

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** The worst ratio of sides in a row of these areas along a side. */
function worst(areas: readonly number[], side: number): number {
  const sum = areas.reduce((total, one) => total + one, 0);
  const thick = sum / side;
  return Math.max(...areas.map((one) => Math.max(thick / (one / thick), one / thick / thick)));
}

/** One box for each value, in their order, which should fall; together they fill `into`. */
export function squarified(values: readonly number[], into: Box): Box[] {
  const total = values.reduce((sum, one) => sum + one, 0);
  if (!total) return values.map(() => ({ ...into, width: 0, height: 0 }));
  const areas = values.map((one) => (one / total) * into.width * into.height);
  const out: Box[] = [];
  let left = { ...into };
  for (let from = 0; from < areas.length;) {
    const side = Math.min(left.width, left.height);
    let to = from + 1;
    while (to < areas.length && worst(areas.slice(from, to + 1), side) <= worst(areas.slice(from, to), side)) to += 1;
    const row = areas.slice(from, to);
    left = laid(row, left, out);
    from = to;
  }
  return out;
}

/** Put a row along the shorter side; what is left beside it. */
function laid(row: readonly number[], into: Box, out: Box[]): Box {
  const sum = row.reduce((total, one) => total + one, 0);
  const upright = into.width >= into.height;
  const side = upright ? into.height : into.width;
  const thick = side ? sum / side : 0;
  let along = 0;
  for (const one of row) {
    const length = thick ? one / thick : 0;
    out.push(upright
      ? { x: into.x, y: into.y + along, width: thick, height: length }
      : { x: into.x + along, y: into.y, width: length, height: thick });
    along += length;
  }
  return upright
    ? { ...into, x: into.x + thick, width: Math.max(into.width - thick, 0) }
    : { ...into, y: into.y + thick, height: Math.max(into.height - thick, 0) };
}
