/** Some of the pairs as clocks, and the score that all of them make. */

import type { Num } from "../../data/types.ts";
import { computed, digits } from "../../numbers/format.ts";
import { places } from "../../numbers/rope.ts";
import { Chip } from "../../parts/chip.tsx";
import { type Part, product, share, type Turning } from "./turns.ts";

const MOST = 8;

interface Props {
  all: { pairs: readonly Part[]; rest: number };
  query: Float64Array;
  keyed: Float64Array;
  places: { query: number; key: number };
  turns: Turning;
  scale: number;
}

export function Dials({ all, query, keyed, places: at, turns, scale }: Props) {
  const count = turns.inverse.length;
  const shown = Array.from({ length: Math.min(count, MOST) }, (_, index) =>
    Math.round((index * (count - 1)) / Math.max(Math.min(count, MOST) - 1, 1)));
  const distance = at.query - at.key;
  const dot = product(all, distance, turns);
  const num = computed(dot * scale, "", "q_k * scale", { q_k: dot, scale }, "girih/nn/rotary.py, girih/nn/attention.py");
  return (
    <>
      <p class="dial-key">
        <span><i class="q" aria-hidden="true" />query, a round tip</span>
        <span><i class="k" aria-hidden="true" />key, a square tip</span>
      </p>
      <ol class="dials">
        {shown.map((pair) => (
          <Clock key={pair} pair={pair} query={query} keyed={keyed} at={at} turns={turns}
            adds={added(all.pairs[pair]!, turns.inverse[pair]!, distance, scale)} />
        ))}
      </ol>
      <p class="dial-score" aria-live="polite">
        The query stands at {at.query}, the key at {at.key}: {distance} apart. Score before the softmax{" "}
        <Chip num={num} label="score" />
      </p>
    </>
  );
}

/** What one pair adds to the score. */
function added(part: Part, turn: number, distance: number, scale: number): Num {
  const inputs = { along: part.cos, across: part.sin, distance, turn, scale };
  return computed(share(part, turn * distance) * scale, "", "(along * cos(distance * turn) + across * sin(distance * turn)) * scale", inputs, "girih/nn/rotary.py");
}

interface ClockProps {
  pair: number;
  query: Float64Array;
  keyed: Float64Array;
  at: { query: number; key: number };
  turns: Turning;
  adds: Num;
}

function Clock({ pair, query, keyed, at, turns, adds }: ClockProps) {
  const [a, b] = places(pair, 2 * turns.inverse.length, turns.pairs);
  const turn = turns.inverse[pair]!;
  const [q, k] = [hand(query[a]!, query[b]!, turn * at.query), hand(keyed[a]!, keyed[b]!, turn * at.key)];
  const longest = Math.max(q.length, k.length, 1e-9);
  const end = (one: { length: number; angle: number }) =>
    [50 + 42 * (one.length / longest) * Math.cos(one.angle), 50 - 42 * (one.length / longest) * Math.sin(one.angle)] as const;
  const [qx, qy] = end(q);
  const [kx, ky] = end(k);
  return (
    <li>
      <svg viewBox="0 0 100 100" role="img" aria-label={`pair ${pair}: adds ${digits(adds.value)}`}>
        <circle cx="50" cy="50" r="46" />
        <line class="hand q" x1="50" y1="50" x2={qx} y2={qy} />
        <line class="hand k" x1="50" y1="50" x2={kx} y2={ky} />
        <circle class="tip" cx={qx} cy={qy} r="4" />
        <rect class="tip" x={kx - 3.5} y={ky - 3.5} width="7" height="7" />
      </svg>
      <b>pair {pair}</b>
      <span class="quiet">a turn in {digits(2 * Math.PI / turn)} tokens</span>
      <span>adds <Chip num={adds} label={`what pair ${pair} adds`} /></span>
    </li>
  );
}

function hand(x: number, y: number, turned: number): { length: number; angle: number } {
  return { length: Math.hypot(x, y), angle: Math.atan2(y, x) + turned };
}
