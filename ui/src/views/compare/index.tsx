/** Any two models side by side: layers aligned, what differs, what it costs. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { level, model, models } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { BranchInfo, Comparison, ComparisonRow, Num } from "../../data/types.ts";
import { Chip } from "../../parts/chip.tsx";
import { Controls, Select, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, useAsked, Waiting } from "../../parts/figure.tsx";
import { Lines } from "../../parts/lines.tsx";
import { KINDS, role } from "../../parts/stack.tsx";
import { Ratio, Totals } from "../../parts/totals.tsx";
import type { View } from "../view.ts";
import "./compare.css";

const other = param("to", "");
const context = param("c", 4096);
const batch = param("n", 1);
const POWERS = [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];

const SAID = {
  beginner: "Equal parts stand beside each other. What differs is marked by a sign and in words, and the totals say what it costs.",
  intermediate: "Layers are aligned by what they do: attention with attention, feed-forward with feed-forward. Ratios are the second over the first.",
  advanced: "Runs of equal layers, aligned by role; state in bfloat16 unless the spec fixes it; FLOPs count a multiply-add as two.",
};

function Compare() {
  const list = models.value?.models ?? [];
  const a = model.value;
  const b = other.value || (list.find((one) => one.id !== a)?.id ?? "");
  const body = { a: { model: a }, b: { model: b }, context: context.value, batch: batch.value, state: "bfloat16" };
  const found = useAsked<Comparison>(
    a && b ? () => source.json<Comparison>("POST", "api/compare", body) : null,
    [a, b, context.value, batch.value],
  );
  const options = list.map((one) => [one.id, one.label] as const);
  const result = found.value;
  return (
    <Figure
      title={result ? `${result.a.label} and ${result.b.label}` : "Two models"}
      caption={SAID[level.value]}
      hint={{
        look: "at the rows with a sign: only there do the two differ.",
        change: "the tokens, and see which state grows and which does not.",
        why: "an architecture is chosen by what it costs where you will run it, not by its name.",
      }}
    >
      <Controls>
        <Select label="With" value={b} options={options} set={(id) => (other.value = id)} />
        <Slider label="Tokens" value={context} min={0} max={0} among={POWERS} />
        <Slider label="Sequences" value={batch} min={1} max={64} />
      </Controls>
      {found.error ? <Failed error={found.error} /> : null}
      {!result && !found.error && <Waiting text="Aligning the layers." />}
      {result && <Result result={result} />}
    </Figure>
  );
}

function Result({ result }: { result: Comparison }) {
  const names: [string, string] = [result.a.label, result.b.label];
  return (
    <>
      <Totals a={result.a.cost} b={result.b.cost} names={names} />
      <h3 class="part">State against context</h3>
      <Lines label="bytes of state against tokens" at={result.curves.contexts}
        lines={[{ name: names[0], values: result.curves.a }, { name: names[1], values: result.curves.b }]} />
      <h3 class="part">Layers</h3>
      <div class="aligned" role="table" aria-label="layers aligned">
        <div role="row" class="aligned-head">
          <span role="columnheader">{names[0]}</span>
          <span role="columnheader">{names[1]}</span>
        </div>
        {result.rows.map((row, index) => <Row key={index} row={row} />)}
      </div>
      <Speed a={result.a.id} b={result.b.id} names={names} />
    </>
  );
}

function Row({ row }: { row: ComparisonRow }) {
  const sign = !row.a ? "+" : !row.b ? "−" : row.changed.length ? "≠" : "=";
  return (
    <div role="row" class={`aligned-row ${sign === "=" ? "same" : "differs"}`}>
      <Half branch={row.a} layers={row.a_layers} />
      <Half branch={row.b} layers={row.b_layers} />
      <span role="cell" class="sign">
        <b>{sign}</b>{" "}
        {sign === "≠" ? row.changed.map((one) => `${one.field} ${said(one.a)} → ${said(one.b)}`).join(", ")
          : sign === "=" ? "the same" : sign === "+" ? "only in the second" : "only in the first"}
      </span>
    </div>
  );
}

function said(value: unknown): string {
  return value === null || value === undefined ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

function Half({ branch, layers }: { branch: BranchInfo | null; layers: string | null }) {
  if (!branch) return <span role="cell" class="half empty">–</span>;
  return (
    <span role="cell" class={`half ${role(branch.kind)}`}>
      <b>{KINDS[branch.kind]}</b> <span class="quiet">{layers === null ? "" : `layers ${layers}`}</span>
      <span class="words">{branch.text}</span>
    </span>
  );
}

interface Speeds {
  prefill: Num;
  decode: Num;
}

/** Both measured here, one after the other, when one asks for it. */
function Speed({ a, b, names }: { a: string; b: string; names: [string, string] }) {
  const now = useSignal<{ key: string; busy: boolean; found: [Speeds, Speeds] | null; error: unknown }>(
    { key: "", busy: false, found: null, error: null });
  const key = `${a} ${b}`;
  const { busy, found, error } = now.value.key === key ? now.value : { busy: false, found: null, error: null };
  const measure = async () => {
    now.value = { key, busy: true, found: null, error: null };
    try {
      const first = await source.json<Speeds>("POST", "api/measure", { what: "speed", model: a });
      const second = await source.json<Speeds>("POST", "api/measure", { what: "speed", model: b });
      now.value = { key, busy: false, found: [first, second], error: null };
    } catch (failed) {
      now.value = { key, busy: false, found: null, error: failed };
    }
  };
  // A recording has been measured, or will not be.
  useEffect(() => void (source.recorded && measure()), [key]);
  return (
    <>
      <h3 class="part">Speed {source.recorded ? "on that machine" : "on this machine"}</h3>
      {found ? (
        <div class="scroll" tabIndex={0} role="region" aria-label="speeds">
          <table class="totals">
            <thead><tr><th scope="col">measured</th><th scope="col">{names[0]}</th><th scope="col">{names[1]}</th><th scope="col">ratio</th></tr></thead>
            <tbody>
              {(["prefill", "decode"] as const).map((what) => (
                <tr key={what}>
                  <th scope="row">{what === "prefill" ? "reading a prompt" : "writing"}</th>
                  <td><Chip num={found[0][what]} label={`${what} of ${names[0]}`} /></td>
                  <td><Chip num={found[1][what]} label={`${what} of ${names[1]}`} /></td>
                  <td><Ratio a={found[0][what]} b={found[1][what]} what={what} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : source.recorded ? (
        <p class="quiet">It was not measured for this file.</p>
      ) : (
        <p>
          <button type="button" disabled={busy} onClick={() => void measure()}>
            {busy ? "Measuring both" : "Measure both"}
          </button>
        </p>
      )}
      {error && !source.recorded ? <Failed error={error} /> : null}
    </>
  );
}

export const view: View = {
  id: "compare",
  title: "Compare",
  question: "How do two models differ, and what does that cost?",
  group: "Size",
  Component: Compare,
};
