/** The growing state of a run: one column a token, one band for each kind of layer. */

import { useSignal } from "@preact/signals";
import { units } from "../app/session.ts";
import type { Cache, RunState } from "../data/run.ts";
import { bytes } from "../numbers/format.ts";
import { account, added, type Band, bands, held, sum } from "./bands.ts";
import { Chip } from "./chip.tsx";
import { visible } from "./text.tsx";
import "./ledger.css";

const [WIDTH, HEIGHT, FOOT] = [640, 200, 18];

interface LedgerProps {
  state: RunState;
  /** Adds the account: used, predicted, allocated, process. */
  full?: boolean;
  /** The column that is chosen; -1 follows the newest token. */
  column?: { value: number };
}

export function LedgerArea({ state, full, column }: LedgerProps) {
  const own = useSignal(-1);
  const chosen = column ?? own;
  const { caches, layers } = state;
  if (!caches.length) {
    return <p class="quiet">What the state takes is drawn here, a column for each token, as soon as a run begins.</p>;
  }
  const kinds = bands(layers);
  const at = chosen.value < 0 ? caches.length - 1 : Math.min(chosen.value, caches.length - 1);
  const now = caches[at]!;
  const most = Math.max(...caches.map((one) => sum(one.used)), 1);
  const x = (index: number) => (caches.length > 1 ? (WIDTH * index) / (caches.length - 1) : WIDTH / 2);
  const y = (value: number) => (HEIGHT - FOOT) * (1 - value / most);
  const below = caches.map(() => 0);
  const areas = kinds.map((band) => {
    const low = caches.map((_, index) => `${x(index).toFixed(1)} ${y(below[index]!).toFixed(1)}`).reverse();
    const high = caches.map((one, index) => {
      below[index]! += sum(one.used, band.layers);
      return `${x(index).toFixed(1)} ${y(below[index]!).toFixed(1)}`;
    });
    return `M${[...high, ...low].join("L")}Z`;
  });
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowLeft: -1, Home: -caches.length, End: caches.length }[event.key];
    if (!by) return;
    event.preventDefault();
    // Of the signal: keys may come faster than the page is drawn.
    const from = chosen.value < 0 ? caches.length - 1 : Math.min(chosen.value, caches.length - 1);
    const next = Math.max(0, Math.min(from + by, caches.length - 1));
    chosen.value = next === caches.length - 1 ? -1 : next;
  };
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const next = Math.round(((event.clientX - box.left) / box.width) * (caches.length - 1));
    chosen.value = next >= caches.length - 1 ? -1 : Math.max(next, 0);
  };
  return (
    <div class="ledger">
      <div class="ledger-field" tabIndex={0} role="application" aria-roledescription="area"
        aria-label="bytes of state after each token; left and right arrows move" data-columns={caches.length}
        onKeyDown={move} onPointerDown={point} onPointerMove={point}>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {areas.map((path, index) => <path key={index} class={`band b${index}`} d={path} />)}
          {caches.length === 1 && <line class="now" x1={WIDTH / 2} x2={WIDTH / 2} y1={0} y2={HEIGHT - FOOT} />}
          <line class="now" x1={x(at)} x2={x(at)} y1={0} y2={HEIGHT - FOOT} />
        </svg>
        <span class="ledger-most">{bytes(most, units.value)}</span>
        <span class="ledger-first">{caches[0]!.tokens} tokens</span>
        <span class="ledger-last">{caches.at(-1)!.tokens}</span>
      </div>
      <p class="said" aria-live={state.status === "running" ? "off" : "polite"}>
        after {now.tokens.toLocaleString("en")} tokens {bytes(sum(now.used), units.value)}; {at ? `“${visible(state.made[at - 1]?.text ?? "")}”` : "the prompt"} added{" "}
        {bytes(sum(now.used) - (at ? sum(caches[at - 1]!.used) : 0), units.value)}
      </p>
      <ul class="ledger-key">
        {kinds.map((band, index) => (
          <li key={band.name}>
            <i class={`b${index}`} aria-hidden="true" />{band.name}, {band.layers.length} {band.layers.length > 1 ? "layers" : "layer"}:{" "}
            {full ? <Held now={now} band={band} /> : bytes(sum(now.used, band.layers), units.value)}
            <span class="quiet">, added {bytes(added(caches, at, band), units.value)}</span>
          </li>
        ))}
      </ul>
      {full && <Account state={state} at={at} />}
    </div>
  );
}

function Held({ now, band }: { now: Cache; band: Band }) {
  const { used, predicted } = held(now, band);
  return <Chip num={used} also={predicted} label={band.name} />;
}

function Account({ state, at }: { state: RunState; at: number }) {
  const { used, predicted, allocated, process } = account(state.caches, at, state.layers);
  const same = used.value === predicted.value;
  return (
    <>
      <dl class="account">
        <div><dt>used</dt><dd><Chip num={used} also={predicted} label="used" /></dd></div>
        <div>
          <dt>predicted</dt>
          <dd><Chip num={predicted} also={used} label="predicted" /> <span class="quiet">{same ? "the same" : "not the same"}</span></dd>
        </div>
        <div><dt>allocated</dt><dd><Chip num={allocated} label="allocated" /></dd></div>
        <div><dt>process</dt><dd><Chip num={process} label="process" text={`${process.value >= 0 ? "+" : "−"}${bytes(Math.abs(process.value), units.value)}`} /></dd></div>
      </dl>
      {allocated.note && <p class="quiet why">More is allocated than used: {allocated.note}.</p>}
    </>
  );
}
