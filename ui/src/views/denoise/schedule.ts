/** How a picture is noised step by step: a schedule and points, no model. */

/** What is left of the picture, squared, after each of so many steps: alpha bar of 0 .. steps. */
export function alphaBars(kind: "linear" | "cosine", steps: number): number[] {
  if (kind === "cosine") {
    const at = (t: number) => Math.cos(((t / steps + 0.008) / 1.008) * (Math.PI / 2)) ** 2;
    return Array.from({ length: steps + 1 }, (_, t) => (t === 0 ? 1 : Math.max(at(t) / at(0), 0)));
  }
  // From 1e-4 to 0.02 over a thousand steps, made shorter so that as much noise comes in all.
  const scale = 1000 / steps;
  const out = [1];
  for (let t = 0; t < steps; t++) {
    const beta = scale * (1e-4 + ((0.02 - 1e-4) * t) / Math.max(steps - 1, 1));
    out.push(out[t]! * (1 - Math.min(beta, 0.999)));
  }
  return out;
}

export type Point = [x: number, y: number];

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Normal noise, two numbers a point (Box and Muller). */
export function noise(count: number, seed: number): Point[] {
  const draw = uniform(seed);
  return Array.from({ length: count }, () => {
    const far = Math.sqrt(-2 * Math.log(1 - draw()));
    const turn = 2 * Math.PI * draw();
    return [far * Math.cos(turn), far * Math.sin(turn)];
  });
}

/** Two spirals of points, one standard deviation wide or so. */
export function spirals(count: number): Point[] {
  return Array.from({ length: count }, (_, i) => {
    const along = 0.15 + (0.85 * Math.floor(i / 2)) / (count / 2);
    const turn = 3 * Math.PI * along + (i % 2) * Math.PI;
    return [1.7 * along * Math.cos(turn), 1.7 * along * Math.sin(turn)];
  });
}

/** x_t = sqrt(alpha bar) x_0 + sqrt(1 - alpha bar) noise. */
export function noised(points: readonly Point[], eps: readonly Point[], alphaBar: number): Point[] {
  const [kept, added] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return points.map(([x, y], i) => [kept * x + added * eps[i]![0], kept * y + added * eps[i]![1]]);
}
