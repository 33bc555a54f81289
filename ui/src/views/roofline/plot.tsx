/** Operations a second against operations for each byte, both in powers: roofs, and where steps stand. */

import { number } from "../../numbers/format.ts";
import { intensity, type Limits, ridge, roof } from "../../numbers/cost.ts";
import type { Part, Step } from "./steps.ts";

export interface Roof {
  name: string;
  limits: Limits;
  measured: boolean;
}

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [640, 360, 6, 44, 26, 6];
const [LOW, HIGH] = [-3, 15];

/** Each part has a shape of its own, in the plot and beside its name. */
const SIGNS: Record<Part["id"], string> = {
  weights: "M-5-5H5V5H-5Z",
  attention: "M0-7L7 0L0 7L-7 0Z",
  scan: "M0-7L7 5H-7Z",
};

export function Sign({ id }: { id: Part["id"] }) {
  return <svg class="sign" viewBox="-8 -8 16 16" aria-hidden="true"><path class={`part ${id}`} d={SIGNS[id]} /></svg>;
}

export interface Ring {
  perByte: number;
  flops: number;
}

/** The powers of ten that hold all that is drawn. */
function range(roofs: readonly Roof[], ring: Ring | null): [number, number] {
  const all = roofs.flatMap(({ limits }) => [limits.peak, roof(2 ** LOW, limits)]);
  if (ring) all.push(ring.flops);
  return [Math.floor(Math.log10(Math.min(...all))), Math.ceil(Math.log10(Math.max(...all)))];
}

interface PlotProps {
  roofs: Roof[];
  steps: Step[];
  /** Of decoding: small dots. */
  parts: Part[];
  ring: Ring | null;
}

export function Plot({ roofs, steps, parts, ring }: PlotProps) {
  const [low, high] = range(roofs, ring);
  const x = (perByte: number) =>
    LEFT + ((WIDTH - LEFT - RIGHT) * (Math.min(Math.max(Math.log2(perByte), LOW), HIGH) - LOW)) / (HIGH - LOW);
  const y = (flops: number) => HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (Math.log10(flops) - low)) / (high - low);
  const near = roofs[0]!;
  const powers = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return (
    <svg class="plot" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={spoken(near, [...steps, ...parts])}>
      {powers.map((one) => <line key={one} class="grid" x1={LEFT} x2={WIDTH - RIGHT} y1={y(one)} y2={y(one)} />)}
      {[-2, 0, 2, 4, 6, 8, 10, 12, 14].map((one) => (
        <text key={one} x={x(2 ** one)} y={HEIGHT - 24} text-anchor="middle">{one < 0 ? `1/${2 ** -one}` : (2 ** one).toLocaleString("en")}</text>
      ))}
      <text class="axis" x={(LEFT + WIDTH) / 2} y={HEIGHT - 5} text-anchor="middle">operations for each byte that is read</text>
      {roofs.map(({ name, limits, measured }, index) => (
        <path key={name} class={`roof r${index} ${measured ? "measured" : "published"}`}
          d={`M${x(2 ** LOW)} ${y(roof(2 ** LOW, limits))}L${x(ridge(limits))} ${y(limits.peak)}L${x(2 ** HIGH)} ${y(limits.peak)}`} />
      ))}
      {powers.map((one) => <text key={one} x={LEFT} y={y(one) - 6}>{number(one, "FLOP/s")}</text>)}
      {parts.map(({ id, work }) => (
        <path key={id} class={`part ${id}`} d={SIGNS[id]}
          transform={`translate(${x(intensity(work))} ${y(roof(intensity(work), near.limits))})`} />
      ))}
      {steps.map((step) => {
        const at = intensity(step.work);
        const [left, top] = [x(at), y(roof(at, near.limits))];
        const late = left > WIDTH - 130;
        return (
          <g key={step.id} class={`step ${step.id}`}>
            <line x1={left} x2={left} y1={top} y2={HEIGHT - BOTTOM} />
            <circle cx={left} cy={top} r="6" />
            <text class="name" x={left + (late ? -10 : 10)} y={top + 24} text-anchor={late ? "end" : "start"}>{step.id}</text>
          </g>
        );
      })}
      {ring && <circle class="ring" cx={x(ring.perByte)} cy={y(ring.flops)} r="7" />}
    </svg>
  );
}

function spoken(near: Roof, steps: readonly (Step | Part)[]): string {
  const all = steps.map((one) => {
    const most = roof(intensity(one.work), near.limits);
    return `${one.id} at ${intensity(one.work).toPrecision(3)} operations a byte, at most ${number(most, "FLOP/s")}`;
  });
  return `the roof of ${near.name}: ${all.join("; ")}`;
}
