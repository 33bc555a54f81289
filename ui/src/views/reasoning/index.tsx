/** A budget of thinking, priced on the chosen model. */

import { useSignal } from "@preact/signals";
import { level, model, reason, spec, specError, units } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Num, SpecInfo } from "../../data/types.ts";
import { bytes, computed, digits } from "../../numbers/format.ts";
import { keptBy } from "../../numbers/kv.ts";
import { Chip } from "../../parts/chip.tsx";
import { Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, Waiting } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { growth, type Span, spans, type Speed } from "./price.ts";
import "./reasoning.css";

const BUDGETS = [0, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768];
const thinking = param("think", 2048);
const answer = param("answer", 256);
const asking = param("ask", 64);
const assumed = param("speed", 20);

const SAID = {
  beginner: "Thinking is text that the model writes for itself. It takes time and room like any other text.",
  intermediate: "Each token of thinking is a step of decoding, and its keys and values stay while the answer is written.",
  advanced: "Bytes are those of the state at the end of each span, as the spec's slots say; time is tokens over one speed, though steps get slower as the state grows.",
};

function Reasoning() {
  const found = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  if (!found) return <Waiting text="Reading the spec." />;
  return <Priced key={model.value} found={found} />;
}

function Priced({ found }: { found: SpecInfo }) {
  const measured = useSignal<Speed | null>(null);
  const speed = measured.value ?? {
    prefill: null,
    decode: computed(assumed.value, "tokens/s", "assumed", { assumed: assumed.value }),
  };
  const all = spans(found, [["prompt", asking.value], ["thinking", thinking.value], ["answer", answer.value]], speed);
  const tokens = all.reduce((sum, one) => sum + one.tokens, 0);
  const context = found.stacks[0]?.context ?? null;
  return (
    <Figure title="What a budget of thinking costs" hint={{
      look: "at the band of thinking: every token of it is computed and remembered, though nobody reads it.",
      change: "the budget. Time grows with it at once, memory only where layers remember every token.",
      why: "reasoning models buy better answers with tokens; here is the price on this model and machine.",
    }}>
      <p>{SAID[level.value]}</p><Controls>
        <Slider label="Tokens of thinking" value={thinking} min={0} max={0} among={BUDGETS} />
        <Slider label="Tokens of the answer" value={answer} min={0} max={2048} step={32} />
        <Slider label="Tokens of the prompt" value={asking} min={1} max={4096} />
        {!measured.value && <Slider label="Speed, assumed" value={assumed} min={1} max={200} text={(one) => `${one} tokens/s`} />}
      </Controls>
      <Bands spans={all} found={found} tokens={tokens} />
      <Costs spans={all} speed={speed} />
      {context !== null && tokens > context && (
        <p class="note">{tokens.toLocaleString("en")} tokens are more than the {context.toLocaleString("en")} that this model was made for.</p>
      )}
      {!measured.value && <Measure done={(one) => (measured.value = one)} />}
    </Figure>
  );
}

/** The state over all tokens; each span has its own ground. */
function Bands({ spans: all, found, tokens }: { spans: Span[]; found: SpecInfo; tokens: number }) {
  const curve = growth(keptBy(found), tokens, 96);
  const most = Math.max(...curve, 1);
  const [width, height] = [640, 150];
  const path = curve.map((one, i) => `${((width * i) / 96).toFixed(1)} ${(height - (height - 12) * (one / most)).toFixed(1)}`).join("L");
  let from = 0;
  return (
    <div class="bands">
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img"
        aria-label={`the state grows to ${bytes(curve.at(-1)!, units.value)} over ${tokens.toLocaleString("en")} tokens`}>
        {all.map((one) => {
          const x = from;
          from += (width * one.tokens) / tokens;
          return <rect key={one.name} class={one.name} x={x} y="0" width={from - x} height={height} />;
        })}
        <path class="under" d={`M0 ${height}L${path}L${width} ${height}Z`} />
        <path class="over" d={`M${path}`} />
      </svg>
    </div>
  );
}

function Costs({ spans: all, speed }: { spans: Span[]; speed: Speed }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="costs">
      <table>
        <thead>
          <tr><th scope="col">Span</th><th scope="col">Tokens</th><th scope="col">Remembered at its end</th><th scope="col">Time</th></tr>
        </thead>
        <tbody>
          {all.map((one) => (
            <tr key={one.name}>
              <th scope="row"><i class={`ground ${one.name}`} aria-hidden="true" />{one.name}</th>
              <td class="num">{one.tokens.toLocaleString("en")}</td>
              <td><Chip num={one.held} label={`remembered after ${one.name}`} /></td>
              <td>{one.time ? <Chip num={one.time} label={`time of ${one.name}`} /> : <span class="quiet">not known yet</span>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p class="caption">
        Written at <Chip num={speed.decode} label="speed" /> {first(all)}
      </p>
    </div>
  );
}

function first(all: Span[]): string {
  const [wait, thought] = [all[0]?.time?.value ?? 0, all[1]?.time?.value ?? 0];
  return `The first word of the answer comes after about ${digits(Number((wait + thought).toPrecision(3)))} seconds.`;
}

function Measure({ done }: { done: (speed: Speed) => void }) {
  const busy = useSignal(false);
  const error = useSignal<string | null>(null);
  const ask = async () => {
    busy.value = true;
    error.value = null;
    try {
      done(await source.json<{ prefill: Num; decode: Num }>("POST", "api/measure", { what: "speed", model: model.value }));
    } catch (failed) {
      error.value = reason(failed);
    } finally {
      busy.value = false;
    }
  };
  return (
    <>
      <button type="button" disabled={busy.value} onClick={() => void ask()}>
        {busy.value ? "Measuring" : "Measure the speed here"}
      </button>
      {error.value && <Failed error={error.value} />}
    </>
  );
}

export const view: View = {
  id: "reasoning",
  title: "Thinking budget",
  question: "What do tokens of thinking cost in time and memory?",
  group: "Size",
  Component: Reasoning,
};
