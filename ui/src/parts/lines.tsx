/** Curves over a growing context, both axes in powers, with a cursor that keys move. */

import { useSignal } from "@preact/signals";
import { units } from "../app/session.ts";
import { bytes } from "../numbers/format.ts";

export interface Line {
  name: string;
  values: readonly number[];
}

interface Props {
  label: string;
  at: readonly number[];
  lines: readonly Line[];
  /** A number of the other axis in words; bytes unless said. */
  text?: (value: number) => string;
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [640, 260, 76, 34];

export function Lines({ label, at, lines, text = (value) => bytes(value, units.value) }: Props) {
  const place = useSignal(at.length - 1);
  const all = lines.flatMap((one) => one.values.filter((value) => value > 0));
  if (!at.length || !all.length) return <p class="quiet">Nothing grows here.</p>;
  const [low, high] = [Math.log2(Math.min(...all)), Math.log2(Math.max(...all))];
  const span = Math.max(high - low, 1);
  const x = (index: number) => LEFT + ((WIDTH - LEFT - 14) * (Math.log2(at[index]!) - Math.log2(at[0]!))) / Math.max(Math.log2(at.at(-1)!) - Math.log2(at[0]!), 1);
  const y = (value: number) => 12 + (HEIGHT - BOTTOM - 12) * (1 - (Math.log2(Math.max(value, 2 ** low)) - low) / span);
  const ticks = Array.from({ length: 4 }, (_, i) => 2 ** (low + (span * i) / 3));
  const now = Math.min(place.value, at.length - 1);
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -at.length, End: at.length }[event.key];
    if (!by) return;
    event.preventDefault();
    place.value = Math.max(0, Math.min(now + by, at.length - 1));
  };
  return (
    <div class="lines">
      <div tabIndex={0} role="application" aria-roledescription="curves" aria-label={`${label}; left and right arrows move`} onKeyDown={move}>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
          {ticks.map((value) => (
            <g key={value}>
              <line class="grid" x1={LEFT} x2={WIDTH - 14} y1={y(value)} y2={y(value)} />
              <text x={LEFT - 8} y={y(value) + 4} text-anchor="end">{text(value)}</text>
            </g>
          ))}
          {at.map((tokens, index) => index % Math.ceil(at.length / 7) === 0 && (
            <text key={tokens} x={x(index)} y={HEIGHT - 10} text-anchor="middle">{tokens.toLocaleString("en")}</text>
          ))}
          {lines.map((one, index) => (
            <path key={one.name} class={`curve c${index}`} d={`M${one.values.map((value, i) => `${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("L")}`} />
          ))}
          <line class="now" x1={x(now)} x2={x(now)} y1={8} y2={HEIGHT - BOTTOM} />
          {lines.map((one, index) => <circle key={one.name} class={`dot c${index}`} cx={x(now)} cy={y(one.values[now]!)} r="4" />)}
        </svg>
      </div>
      <p class="said" aria-live="polite">
        at {at[now]!.toLocaleString("en")} tokens: {lines.map((one, index) => (
          <span key={one.name} class={`key c${index}`}><i aria-hidden="true" />{one.name} {text(one.values[now]!)}</span>
        ))}
      </p>
    </div>
  );
}
