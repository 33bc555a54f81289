/** Bars of bytes, each with its formula, its ratio, and a measurement where one was asked for. */

import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { reason, units } from "../../app/session.ts";
import { source } from "../../data/source.ts";
import type { Num } from "../../data/types.ts";
import { digits } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";

export interface Bar {
  id: string;
  name: string;
  how: string;
  num: Num;
  /** What to ask the server to allocate; null: it cannot be measured here. */
  ask: Record<string, unknown> | null;
}

export interface Measured {
  allocated: Num;
  predicted: Num;
  seconds: Num;
}

/** All bars in one unit, so that they can be compared. */
export function inUnit(value: number): string {
  const [size, name] = units.value === "MiB" ? [2 ** 20, "MiB"] : [1e6, "MB"];
  return `${digits(value / size)} ${name}`;
}

export function Bars({ bars, base, measured }: { bars: Bar[]; base: Bar; measured: Signal<Record<string, Measured>> }) {
  const most = Math.max(...bars.map((one) => one.num.value), 1);
  return (
    <ul class="bars">
      {bars.map((one) => (
        <li key={one.id}>
          <span class="name"><b>{one.name}</b> {one.how}</span>
          <span class="track" aria-hidden="true"><span class={`bar ${one.id}`} style={{ width: `${(100 * one.num.value) / most}%` }} /></span>
          <span class="figures">
            <Chip num={one.num} label={one.name} text={inUnit(one.num.value)} />
            <span class="ratio">{one.id === base.id ? "baseline" : ratio(base.num.value, one.num.value)}</span>
            <Measure bar={one} measured={measured} />
          </span>
        </li>
      ))}
    </ul>
  );
}

function ratio(base: number, value: number): string {
  if (!value) return "none at all";
  if (value === base) return "the same";
  const times = base / value;
  return times >= 1 ? `${times.toFixed(1)}x less` : `${(1 / times).toFixed(1)}x more`;
}

function Measure({ bar, measured }: { bar: Bar; measured: Signal<Record<string, Measured>> }) {
  const busy = useSignal(false);
  const error = useSignal<string | null>(null);
  if (!bar.ask) return null;
  const key = JSON.stringify(bar.ask);
  const found = measured.value[key];
  const ask = async () => {
    busy.value = true;
    error.value = null;
    try {
      const said = await source.json<Measured>("POST", "api/measure", { what: "state", ...bar.ask });
      measured.value = { ...measured.value, [key]: said };
    } catch (failed) {
      error.value = reason(failed);
    } finally {
      busy.value = false;
    }
  };
  if (found) return <Chip num={found.allocated} also={found.predicted} label={`${bar.name}, measured`} text={inUnit(found.allocated.value)} />;
  return (
    <>
      <button type="button" class="measure" disabled={busy.value} aria-label={`Measure ${bar.name}`} onClick={() => void ask()}>
        {busy.value ? "Measuring" : "Measure"}
      </button>
      {error.value && <span class="wrong" role="alert">{error.value}</span>}
    </>
  );
}
