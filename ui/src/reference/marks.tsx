/** Small drawings of the reference: a tile for each category, a rosette. */

import { type Category, CATEGORIES } from "./types.ts";
import { drawn, rosette, type TileName } from "./tiles.ts";

const OF: TileName[] = ["decagon", "hexagon", "pentagon", "rhombus", "bowtie"];
const PATHS = OF.map((name) => drawn(name, name === "decagon" ? 14 : 24));
const ROSETTE = rosette(60);

export function Tile({ category, size }: { category: Category; size: number }) {
  const { edge, line, box } = PATHS[CATEGORIES.indexOf(category)]!;
  return (
    <svg class="tile" width={size} height={size} viewBox={box} aria-hidden="true">
      <path class="edge" d={edge} />
      <path class="line" d={line} />
    </svg>
  );
}

export function Rosette() {
  return (
    <div class="sky" aria-hidden="true">
      <svg class="rosette" viewBox={ROSETTE.box}><path d={ROSETTE.line} /></svg>
    </div>
  );
}
