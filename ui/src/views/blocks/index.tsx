/** The block stack: what a token passes on its way through the chosen model. */

import { level, spec, specError } from "../../app/session.ts";
import { link, param } from "../../app/url.ts";
import type { BranchInfo, Num, SpecInfo, StackInfo } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Failed, Figure, Waiting } from "../../parts/figure.tsx";
import { KINDS, named, role, runs, type LayerRun } from "../../parts/stack.tsx";
import type { View } from "../view.ts";
import "./blocks.css";

const box = param("b", "");

const SAID = {
  beginner:
    "A token enters at the top as a row of numbers. Every layer reads that row, works out a change and adds it; the sum goes on to the next layer. The head turns the last row into a guess of the next token.",
  intermediate:
    "Each layer is a few residual branches: x + mixer(norm(x)). Attention or a scan moves information between tokens; the feed-forward part works on each token alone.",
  advanced:
    "Branches in spec order, equal layers folded. A branch is x + post(mixer(pre(x))); parameters and state are folds over the same spec that builds the module.",
};

function Blocks() {
  const shown = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  if (!shown) return <Waiting text="Reading the spec." />;
  return (
    <Figure
      title={shown.label}
      caption={SAID[level.value]}
      hint={{
        look: "at the bars: they are the share of all parameters in each part.",
        change: "the model at the top of the page, or open a layer to see its parts.",
        why: "most architectures differ in one or two of these boxes, and in nothing else.",
      }}
    >
      {shown.stacks.map((stack) => <Column key={stack.name} stack={stack} spec={shown} />)}
    </Figure>
  );
}

/** The parameters of tensors whose names begin so. */
function sum(spec: SpecInfo, prefix: string, what: string): Num {
  const found = spec.tensors.filter((one) => one.name.startsWith(prefix));
  const value = found.reduce((total, one) => total + one.params, 0);
  const expr = found.map((one) => one.shape.join(" * ")).join(" + ") || "0";
  return computed(value, "params", expr.length > 120 ? `sum of ${found.length} tensors` : expr, {}, what);
}

function Column({ stack, spec }: { stack: StackInfo; spec: SpecInfo }) {
  const whole = spec.cost["parameters"]?.value ?? 1;
  const head = sum(spec, `${stack.name}.head.`, "the head's tensors");
  return (
    <ol class="stack">
      <Row name="embedding" words={`${stack.vocab.toLocaleString("en")} tokens x ${stack.dim}`} whole={whole}
        num={sum(spec, `${stack.name}.embed`, "the embedding's tensors")} kind="edge" />
      {runs(stack.layers).map((run) => <Layers key={run.first} run={run} whole={whole} />)}
      <Row name="head" words={stack.tied ? "the embedding, transposed" : `${stack.dim} x ${stack.vocab.toLocaleString("en")}`}
        whole={whole} num={head} kind="edge" />
    </ol>
  );
}

interface RowProps {
  name: string;
  words: string;
  whole: number;
  num: Num;
  kind: string;
}

function Row({ name, words, whole, num, kind }: RowProps) {
  return (
    <li class={`block ${kind}`}>
      <Bar share={num.value / whole} />
      <b>{name}</b><span class="words">{words}</span><Chip num={num} label={`parameters of the ${name}`} />
    </li>
  );
}

function Bar({ share }: { share: number }) {
  return <span class="share-bar" aria-hidden="true" style={{ width: `${Math.max(100 * share, 0.3)}%` }} />;
}

function Layers({ run, whole }: { run: LayerRun; whole: number }) {
  const count = run.last - run.first + 1;
  const id = String(run.first);
  const each = run.layer.branches.reduce((total, one) => total + one.params.value, 0);
  const num = computed(each * count, "params", "layers * parameters_of_a_layer", { layers: count, parameters_of_a_layer: each });
  return (
    <li class="block layers">
      <Bar share={num.value / whole} />
      <details open={box.value === id || (box.value === "" && run.first === 0)}
        onToggle={(event) => {
          if (event.currentTarget.open) box.value = id;
          else if (box.peek() === id) box.value = "-";
        }}>
        <summary>
          <b>{named(run)}</b>
          <span class="words">{run.layer.branches.map((one) => KINDS[one.kind]).join(", then ")}</span>
        </summary>
        <ol class="branches">
          {run.layer.branches.map((one) => <Branch key={one.path} branch={one} />)}
        </ol>
      </details>
      <Chip num={num} label={`parameters of ${named(run)}`} />
    </li>
  );
}

/** Where a kind of mixer can be looked into. */
function places(branch: BranchInfo): [view: string, text: string][] {
  const at = role(branch.kind);
  if (branch.kind === "experts") return [["router", "where tokens go"]];
  if (at === "scan") return [["loom", "what it keeps"]];
  if (at === "inner") return [];
  return [["attention", "its maps"], ["mask", "its mask"], ...(branch.rope ? [["rope", "its rotation"] as [string, string]] : [])];
}

function Branch({ branch }: { branch: BranchInfo }) {
  const layer = Number(/layers\.(\d+)/.exec(branch.path)?.[1] ?? 0);
  return (
    <li class={`branch ${role(branch.kind)}`}>
      <b>{branch.name}</b>
      <span class="words">{[branch.pre, branch.text, branch.post].filter(Boolean).join(" → ")}</span>
      <span class="facts">
        <Chip num={branch.params} label={`parameters of ${branch.name}`} />
        {branch.per_token.value > 0 && <span>a token adds <Chip num={branch.per_token} label={`state of a token in ${branch.name}`} /></span>}
        {branch.fixed.value > 0 && <span>carries <Chip num={branch.fixed} label={`fixed state of ${branch.name}`} /></span>}
        {places(branch).map(([view, text]) => <a key={view} href={link({ v: view, l: layer, ...(view === "mask" ? { mk: "layer" } : {}) })}>{text}</a>)}
      </span>
    </li>
  );
}

export const view: View = {
  id: "blocks",
  title: "Block stack",
  question: "What does a token pass on its way through this model?",
  group: "Look inside",
  Component: Blocks,
};
