/** The score against the distance, and how many tokens each pair takes for a turn. */

import { useSignal } from "@preact/signals";
import { computed, digits } from "../../numbers/format.ts";
import { wavelengths } from "../../numbers/rope.ts";
import { Chip } from "../../parts/chip.tsx";
import { distances, type Part, product, type Turning } from "./turns.ts";

const [WIDTH, HEIGHT, LEFT] = [640, 200, 46];

interface WaveProps {
  all: { pairs: readonly Part[]; rest: number };
  turns: Turning;
  scale: number;
  now: number;
  most: number;
}

export function Wave({ all, turns, scale, now, most }: WaveProps) {
  const cursor = useSignal<number | null>(null);
  // Each whole distance: fast pairs turn in six tokens, and a coarser curve would invent slow ones.
  const at = distances(most, most);
  const values = at.map((distance) => scale * product(all, distance, turns));
  const [low, high] = [Math.min(...values, 0), Math.max(...values, 0)];
  const x = (distance: number) => LEFT + ((WIDTH - LEFT) * distance) / most;
  const y = (value: number) => 8 + (HEIGHT - 30) * (1 - (value - low) / Math.max(high - low, 1e-9));
  const place = cursor.value ?? Math.max(0, Math.min(now, most));
  const value = scale * product(all, place, turns);
  const move = (event: KeyboardEvent) => {
    const far = event.shiftKey ? 10 : 1;
    const by = { ArrowRight: far, ArrowLeft: -far, Home: -most, End: most }[event.key];
    if (!by) return;
    event.preventDefault();
    cursor.value = Math.max(0, Math.min(place + by, most));
  };
  return (
    <div class="wave lines">
      <div tabIndex={0} role="application" aria-roledescription="curve" aria-label="score against distance; left and right arrows move"
        onKeyDown={move}
        onPointerDown={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          const share = (event.clientX - box.left) / box.width - LEFT / WIDTH;
          cursor.value = Math.max(0, Math.min(Math.round((share * most * WIDTH) / (WIDTH - LEFT)), most));
        }}>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
          {[...new Set([low, 0, high])].map((one) => (
            <g key={one}>
              <line class="grid" x1={LEFT} x2={WIDTH} y1={y(one)} y2={y(one)} />
              <text x={LEFT - 6} y={y(one) + 4} text-anchor="end">{digits(one)}</text>
            </g>
          ))}
          <path class="curve" d={`M${at.map((one, index) => `${x(one).toFixed(1)} ${y(values[index]!).toFixed(1)}`).join("L")}`} />
          <line class="now" x1={x(place)} x2={x(place)} y1={4} y2={HEIGHT - 20} />
          <circle class="dot" cx={x(place)} cy={y(value)} r="4" />
          <text x={LEFT} y={HEIGHT - 4}>0 tokens apart</text>
          <text x={WIDTH} y={HEIGHT - 4} text-anchor="end">{most.toLocaleString("en")}</text>
        </svg>
      </div>
      <p class="said" aria-live="polite">
        {place.toLocaleString("en")} apart: <Chip num={computed(value, "", "q_k * scale", { q_k: value / scale, scale })} label="score at a distance" />
      </p>
    </div>
  );
}

/** A bar for each pair on a scale of powers, and where the context ends. */
export function Wavelengths({ turns, context }: { turns: Turning; context: number }) {
  const waves = wavelengths(turns.inverse);
  const finite = waves.filter(Number.isFinite);
  const most = Math.log10(Math.max(...finite, context * 2));
  const x = (value: number) => (100 * Math.log10(Math.max(value, 1))) / most;
  const whole = finite.filter((one) => one <= context).length;
  const num = computed(whole, "", "count of 2 * pi / frequency <= context", { context }, "girih/spec/positions.py");
  return (
    <>
      <svg class="waves" viewBox={`0 0 100 ${waves.length}`} preserveAspectRatio="none" role="img"
        aria-label={`${whole} of ${waves.length} pairs turn at least once within the context`}>
        {waves.map((one, index) => (
          <rect key={index} class={one <= context ? "within" : "beyond"} x="0" y={index + 0.15} height="0.7"
            width={Number.isFinite(one) ? x(one) : 100} />
        ))}
        <line class="context" x1={x(context)} x2={x(context)} y1="0" y2={waves.length} />
      </svg>
      <p class="caption">
        The first pair turns in {digits(waves[0]!)} tokens, the last in {digits(waves.at(-1)!)}. The line is the context of{" "}
        {context.toLocaleString("en")}: <Chip num={num} label="pairs that turn once" /> of {waves.length} pairs turn once within it.
      </p>
    </>
  );
}
