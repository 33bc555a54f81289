/** The run ledger: what each token costs in memory, predicted and measured. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { info, level, prompt, refresh, units } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { type RunState, useRun } from "../../data/run.ts";
import { bytes } from "../../numbers/format.ts";
import { sum } from "../../parts/bands.ts";
import { Slider } from "../../parts/controls.tsx";
import { Failed, Figure, Waiting } from "../../parts/figure.tsx";
import { LedgerArea } from "../../parts/ledger.tsx";
import { TextField, Tokens } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import "./ledger.css";

const most = param("mx", 64);
const LARGE = 2 ** 30;

const SAID = {
  beginner: "So that it need not read everything anew for each token, a model keeps notes. Here you see them grow, byte by byte, while it writes.",
  intermediate: "Full attention adds a key and a value for every token; a window stops growing when it is full; a scan keeps the same bytes at any length.",
  advanced: "The counters are the state's own, read after each step of a plain run. Used is filled slots, allocated the nbytes of the tensors; predicted is the fold over the spec's slots.",
};

function Ledger() {
  const { state, start, stop } = useRun();
  const column = useSignal(-1);
  const chosen = info.value;
  const text = prompt.value;
  const go = async (tokens: number) => {
    column.value = -1;
    await start({ model: chosen!.id, prompt: text, raw: true, max_tokens: tokens, temperature: 0, top: 0 });
    void refresh();
  };
  // Something to see at once, unless the model is so large that loading it should be asked for.
  useEffect(() => {
    if (chosen && (chosen.weights.value < LARGE || chosen.status === "ready")) void go(most.peek());
    else stop();
  }, [chosen?.id, text]);
  if (!chosen) return <Waiting text="Asking girih which models are at hand." />;
  const now = state.value;
  const busy = now.status === "running";
  return (
    <Figure title={`${chosen.label}, token by token`} caption={SAID[level.value]}
      hint={{
        look: "at the slope: it is what one more token costs.",
        change: "the model, to one with windows or with scans, and run it again.",
        why: "at long contexts the state, not the weights, decides what fits into a machine.",
      }}>
      <TextField label="Prompt" />
      <div class="ledger-run">
        <button type="button" class="main" disabled={busy} onClick={() => void go(most.value)}>Run</button>
        <button type="button" disabled={busy} onClick={() => void go(now.made.length + 1)}
          title="runs again and writes one token more">Step</button>
        <button type="button" disabled={!busy} onClick={stop}>Stop</button>
        <Slider label="Tokens at most" value={most} min={8} max={256} step={8} />
      </div>
      {now.error && <Failed error={now.error} />}
      {now.note && <Waiting text={now.note} />}
      <LedgerArea state={now} full column={column} />
      <h3 class="part">What it read and wrote</h3>
      <Tokens tokens={[...now.prompt, ...now.made]} at={pill(now, column)} weight={(index) => (index < now.prompt.length ? 0 : 0.18)}
        title={(index) => cost(now, index)} />
    </Figure>
  );
}

/** The token of a column: the first column is the whole prompt, and each other what was written. */
function pill(now: RunState, column: { value: number }): { value: number } {
  const [first, last] = [now.prompt.length - 1, now.caches.length - 1];
  return {
    get value() {
      return Math.max(first + (column.value < 0 ? last : Math.min(column.value, last)), 0);
    },
    set value(token) {
      const at = Math.max(token - first, 0);
      column.value = at >= last ? -1 : at;
    },
  };
}

function cost(now: RunState, token: number): string {
  const at = token - now.prompt.length + 1;
  if (at <= 0) return "of the prompt";
  const [before, after] = [now.caches[at - 1], now.caches[at]];
  if (!before || !after) return "written last, not read yet";
  return `added ${bytes(sum(after.used) - sum(before.used), units.value)}`;
}

export const view: View = {
  id: "ledger",
  title: "Run ledger",
  question: "What does each token cost in memory?",
  group: "Look inside",
  Component: Ledger,
};
