/** The KV bench: what one shape remembers in six ways, and what the chosen model remembers. */

import { signal } from "@preact/signals";
import { info, level, model, spec } from "../../app/session.ts";
import { divisors, FORMATS, keptBy, POLICIES, POLICY_TEXT, stateBytes, totalBytes } from "../../numbers/kv.ts";
import { Controls, Select, Slider } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { type Bar, Bars, type Measured } from "./bars.tsx";
import * as set from "./settings.ts";
import { fitting, specOf, ways } from "./ways.ts";
import "./kv.css";

const SAID = {
  beginner: "While it writes, a model keeps notes on every token. How large they are depends on how the model takes them.",
  intermediate: "The same shape with all key heads kept, some, or one; with a latent in their place; with a window; and a scan, whose state has one size.",
  advanced: "Bytes as the spec's slots say, in the format that is chosen, bounds of packed formats included. Measured: the sum of the tensors' own sizes, once allocated and written.",
};

/** What was measured, by what was asked. */
const measured = signal<Record<string, Measured>>({});

function Bench() {
  return (
    <>
      <p>{SAID[level.value]}</p>
      <Six />
      <Own />
    </>
  );
}

function Six() {
  const now = set.use();
  const asked = { context: now.tokens, batch: now.batch, state: now.format };
  const all: Bar[] = ways(set.shape()).map((way) => ({
    id: way.id,
    name: way.name,
    how: way.how,
    num: stateBytes(way.kept, now),
    ask: { spec: specOf(way), ...asked },
  }));
  return (
    <Figure title="One shape, six ways to remember" hint={{
      look: "at the bars of MHA, GQA and MQA: only the number of kept heads differs.",
      change: "the tokens. All bars grow in step but two: the window stops, and the scan never begins to.",
      why: "what is remembered must be read for each new token, so these bytes are time as well as memory.",
    }} caption="Measure allocates the state with girih's own storage, fills it, weighs it, and gives it back.">
      <Presets />
      <Assumptions />
      <Bars bars={all} base={all[0]!} measured={measured} />
    </Figure>
  );
}

function Presets() {
  const found = spec.value && set.ofModel(spec.value);
  return (
    <div class="presets">
      <span>Shape of</span>
      <button type="button" onClick={set.classic}>the classic figure</button>
      {found && <button type="button" onClick={() => set.take(found)}>{info.value?.label}</button>}
    </div>
  );
}

function Assumptions() {
  const { held } = set;
  const heads = held.heads.value;
  const kept = fitting(heads, held.kv_heads.value);
  if (kept !== held.kv_heads.value) held.kv_heads.value = kept;
  return (
    <>
      <Controls>
        <Slider label="Tokens" value={set.tokens} min={0} max={0} among={set.TOKENS} />
        <Slider label="Kept heads of GQA" value={held.kv_heads} min={0} max={0} among={divisors(heads).reverse()} />
        <Slider label="Sequences" value={set.sequences} min={1} max={64} />
        <Select label="Kept in" value={set.use().format} set={(one) => (set.format.value = one)}
          options={FORMATS.map((one) => [one, one] as const)} />
      </Controls>
      <details class="more">
        <summary>What else is assumed</summary>
        <Controls>
          <Slider label="Layers" value={held.layers} min={1} max={128} />
          <Slider label="Query heads" value={held.heads} min={1} max={128} />
          <Slider label="Width of a head" value={held.head_dim} min={8} max={512} step={8} />
          <Slider label="Rank of the latent" value={held.kv_rank} min={16} max={1024} step={16} />
          <Slider label="Rotary part beside it" value={held.rope_dim} min={8} max={128} step={8} />
          <Slider label="Tokens of the window" value={held.window} min={0} max={0} among={set.TOKENS.slice(1, 13)} />
          <Slider label="States of the scan" value={held.states} min={1} max={256} />
        </Controls>
      </details>
    </>
  );
}

/** The chosen model as it is, by girih's rule and by those of other engines. */
function Own() {
  const found = spec.value;
  if (!found) return null;
  const now = set.use();
  const kept = keptBy(found);
  const bars: Bar[] = POLICIES.map((policy) => ({
    id: policy,
    name: { exact: "girih", paged: "paged", full: "full size", expanded: "expanded" }[policy],
    how: POLICY_TEXT[policy],
    num: totalBytes(kept, { ...now, policy }),
    ask: policy === "exact" ? { model: model.value, context: now.tokens, batch: now.batch, state: now.format } : null,
  }));
  const [first, ...others] = bars;
  const differ = others.filter((one) => one.num.value !== first!.num.value);
  const same = others.length - differ.length;
  return (
    <Figure title={`${info.value?.label ?? "The chosen model"}, as it is`}
      caption={same ? "What would be the same by another rule is left out." : undefined}>
      <p>At {now.tokens.toLocaleString("en")} tokens, {now.batch === 1 ? "one sequence" : `${now.batch} sequences`}, in {now.format}.</p>
      <Bars bars={[first!, ...differ]} base={first!} measured={measured} />
    </Figure>
  );
}

export const view: View = {
  id: "kv",
  title: "KV bench",
  question: "How much must a model remember, and what makes it less?",
  group: "Size",
  Component: Bench,
};
