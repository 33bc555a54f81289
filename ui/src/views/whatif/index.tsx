/** What if: the chosen model beside a fork of it, whose fields can be changed. */

import { useSignal } from "@preact/signals";
import { packedText } from "../../app/packing.ts";
import { asked, info, level, model, reason, refresh, spec } from "../../app/session.ts";
import { link, param } from "../../app/url.ts";
import { Refused, source } from "../../data/source.ts";
import type { BranchInfo, ModelInfo, Priced, SpecInfo } from "../../data/types.ts";
import { Choice, Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, useAsked, Waiting } from "../../parts/figure.tsx";
import { KINDS, role, runs } from "../../parts/stack.tsx";
import { Totals } from "../../parts/totals.tsx";
import type { View } from "../view.ts";
import { changed, concerns, type Edit, everywhere, type Field, fields, parsed, typed, withoutPath } from "./edits.ts";
import "./whatif.css";

const held = packedText("e", "");
const whole = packedText("j", "");
const context = param("c", 4096);
const batch = param("n", 1);
const POWERS = [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];

const SAID = {
  beginner: "Change a number and see what the model would cost. Nothing is trained: the fork is a plan until you run it.",
  intermediate: "The fork is checked by the same rules as any model: what cannot be, such as 9 heads for 2 kept ones, is said at its field.",
  advanced: "Edits address the unfolded spec; the answer is a fold over the edited one, without building it.",
};

interface Body {
  model?: string;
  spec?: unknown;
  edits: Edit[];
  context: number;
  batch: number;
  state: string;
}

function body(): Body | null {
  const rest = { edits: parsed(held.value), context: context.value, batch: batch.value, state: "bfloat16" };
  if (!whole.value) return { model: model.value, ...rest };
  try {
    return { spec: JSON.parse(whole.value) as unknown, ...rest };
  } catch {
    return null;
  }
}

function Whatif() {
  const shown = spec.value;
  const id = model.value;
  const asks = body();
  const forked = useAsked<Priced>(
    id && asks ? () => source.json<Priced>("POST", "api/price", asks) : null,
    [id, JSON.stringify(asks)],
  );
  const plain = useAsked<Priced>(
    id ? () => source.json<Priced>("POST", "api/price", { model: id, edits: [], context: context.value, batch: batch.value, state: "bfloat16" }) : null,
    [id, context.value, batch.value],
  );
  if (!shown) return <Waiting text="Reading the spec." />;
  const error = forked.error;
  return (
    <Figure
      title={`${shown.label} and its fork`}
      caption={SAID[level.value]}
      hint={{
        look: "at the rows at the bottom: the model, the fork, and their ratio.",
        change: "kv_heads of attention to 1, and watch the state.",
        why: "most of what a new architecture saves can be known before anything is trained.",
      }}
    >
      <Controls>
        <Slider label="Tokens" value={context} min={0} max={0} among={POWERS} />
        <Slider label="Sequences" value={batch} min={1} max={64} />
        <Choice label="Edit" value={whole.value ? "json" : "fields"} options={[["fields", "fields"], ["json", "the whole spec"]]}
          set={(one) => {
            whole.value = one === "json" ? JSON.stringify((forked.value ?? shown).spec, null, 1) : "";
            if (one === "json") held.value = "";
          }} />
      </Controls>
      {whole.value ? <Text error={asks ? error : new Error("this is no JSON yet")} /> : <Columns shown={shown} error={error} />}
      {error && !(error instanceof Refused && error.path) ? <Failed error={error} /> : null}
      {plain.value && forked.value && !error && <Totals a={plain.value.cost} b={forked.value.cost} names={[shown.label, "the fork"]} />}
      <Run asks={asks} good={!error && forked.value !== null} />
    </Figure>
  );
}

/** The whole spec as text; what is wrong with it is said under it with its path. */
function Text({ error }: { error: unknown }) {
  const said = error ? reason(error) : "";
  return (
    <div class="spec-text">
      <label for="spec-text">The spec of the fork, as JSON</label>
      <textarea id="spec-text" rows={18} spellcheck={false} value={whole.value} aria-invalid={said !== ""}
        aria-describedby="spec-said" onInput={(event) => (whole.value = event.currentTarget.value || "{}")} />
      <p id="spec-said" class="at-field" role="status">{said}</p>
    </div>
  );
}

function Columns({ shown, error }: { shown: SpecInfo; error: unknown }) {
  const found = new Map<string, BranchInfo>();
  for (const stack of shown.stacks) {
    for (const run of runs(stack.layers)) {
      for (const branch of run.layer.branches) {
        const key = `${branch.name} ${JSON.stringify(Object.keys(branch.mixer))} ${branch.kind}`;
        if (!found.has(key)) found.set(key, branch);
      }
    }
  }
  const edits = parsed(held.value);
  return (
    <div class="forks">
      {[...found.values()].map((branch) => <Branch key={branch.path} branch={branch} edits={edits} error={error} />)}
      {edits.length > 0 && (
        <p><button type="button" onClick={() => (held.value = "")}>{edits.length > 1 ? `Undo all ${edits.length} changes` : "Undo the change"}</button></p>
      )}
    </div>
  );
}

function Branch({ branch, edits, error }: { branch: BranchInfo; edits: Edit[]; error: unknown }) {
  const places = fields(branch.mixer);
  if (!places.length) return null;
  return (
    <fieldset class={`fork ${role(branch.kind)}`}>
      <legend>{branch.name}: {KINDS[branch.kind]}</legend>
      <div class="fork-fields">
        {places.map((field) => <One key={field.name} field={field} branch={branch} edits={edits} error={error} />)}
      </div>
    </fieldset>
  );
}

interface OneProps {
  field: Field;
  branch: BranchInfo;
  edits: Edit[];
  error: unknown;
}

function One({ field, branch, edits, error }: OneProps) {
  const path = everywhere(branch, field.name);
  const edit = edits.find((one) => one.path === path);
  const value = edit ? edit.value : field.value;
  const wrong = edit && error instanceof Refused && (concerns(error.path, path) || edits.length === 1);
  const id = `field-${path.replace(/[^\w]+/g, "-")}`;
  const set = (text: string) => {
    const next = changed(edits, path, typed(text, field.value), field.value);
    held.value = next.length ? JSON.stringify(next) : "";
  };
  return (
    <div class={edit ? "fork-field edited" : "fork-field"}>
      <label for={id}>{field.name}</label>
      {typeof field.value === "boolean" ? (
        <select id={id} value={String(value)} onChange={(event) => set(event.currentTarget.value)}>
          <option value="true">yes</option>
          <option value="false">no</option>
        </select>
      ) : (
        <input id={id} type="text" inputMode={typeof field.value === "number" ? "decimal" : "text"} value={String(value)}
          aria-invalid={wrong ? true : undefined} aria-describedby={wrong ? `${id}-said` : undefined}
          onInput={(event) => set(event.currentTarget.value)} />
      )}
      {edit && <span class="was">was {String(field.value)}</span>}
      {wrong && <p class="at-field" id={`${id}-said`} role="alert">{withoutPath(reason(error))}</p>}
    </div>
  );
}

/** Build the fork and look into it. */
function Run({ asks, good }: { asks: Body | null; good: boolean }) {
  const busy = useSignal(false);
  const said = useSignal("");
  const build = async () => {
    busy.value = true;
    said.value = "";
    try {
      const { context: _, batch: __, state: ___, ...rest } = asks!;
      const made = await source.json<ModelInfo>("POST", "api/fork", { ...rest, weights: "kept" });
      await refresh();
      asked.value = made.id;
      location.hash = link({ v: "chat", m: made.id });
    } catch (error) {
      said.value = reason(error);
    }
    busy.value = false;
  };
  if (source.recorded) return null;
  return (
    <p class="run-fork">
      <button type="button" class="main" disabled={!good || busy.value || !info.value} onClick={() => void build()}>
        {busy.value ? "Building" : "Run it"}
      </button>
      <span class="quiet">
        Builds the fork with the weights that still fit, and random ones elsewhere. It will talk nonsense, at the speed and size it would have.
      </span>
      {said.value && <Failed error={said.value} />}
    </p>
  );
}


export const view: View = {
  id: "whatif",
  title: "What if",
  question: "What would change if this field were different?",
  group: "Size",
  Component: Whatif,
};
