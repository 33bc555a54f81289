/** The mask painter: which tokens a token sees, for any mask and for every layer of the chosen model. */

import { info, level } from "../../app/session.ts";
import type { MaskInfo } from "../../data/types.ts";
import { CONVENTIONS, pairs, seen } from "../../numbers/masks.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Slider, Switch } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { sentence } from "./cells.ts";
import { Far } from "./far.tsx";
import { Grid, Thumb } from "./grid.tsx";
import { Engine, Strip } from "./layers.tsx";
import * as set from "./settings.ts";
import "./mask.css";

const SAID = {
  beginner:
    "A row is a token that looks, a column is a token it may look at. A filled cell means that it may; in an empty one the model cannot look, however much it would help.",
  intermediate:
    "The mask is what attention layers differ in most: a window makes the cost of a token constant, and leaves it to the layers above to carry word further.",
  advanced:
    "Rows are queries, columns keys; a cell is sees(query, key) of the spec's mask node. Representatives are keys pooled from complete windows, seen beside the tokens of one's own.",
};

const NAMES: Record<(typeof set.KINDS)[number], string> = {
  sliding: "sliding window", chunked: "chunked", grouped: "grouped windows", causal: "global, causal",
  full: "global, both ways", prefix: "prefix",
};

const MEANT = { causal: "Causal", back: "Causal", centred: "Centred" } as const;

function Mask() {
  const own = set.kind.value !== "layer";
  const options = [
    ...set.KINDS.map((one) => [one, NAMES[one]] as const),
    ["layer", info.value ? `a layer of ${info.value.label}` : "a layer of the model"] as const,
  ];
  return (
    <>
      <p>{SAID[level.value]}</p>
      <Choice label="Mask" value={set.kind.value} options={options} set={(one) => (set.kind.value = one)} />
      {own ? <Painted /> : <OfLayer />}
      {own && set.kind.value === "sliding" && <Conventions />}
      <Far />
      {own && <Figure title={`The layers of ${info.value?.label ?? "the chosen model"}`}
        caption="Pick one to see its mask, and whether ours is the one that the engine uses."><Strip /></Figure>}
    </>
  );
}

const HINT = {
  look: "at one row: it is all that this token can read in one layer.",
  change: "the token with the arrow keys or by pointing, then the size of the window.",
  why: "what is masked costs neither time nor memory, and can only arrive through the layers below.",
};

function Painted() {
  const mask = set.mask.value!;
  return (
    <Figure title={title(mask)} hint={HINT}>
      <Board mask={mask}><Sliders /></Board>
    </Figure>
  );
}

function title(mask: MaskInfo): string {
  if (mask.kind !== "sliding") return NAMES[mask.kind][0]!.toUpperCase() + NAMES[mask.kind].slice(1);
  const meant = CONVENTIONS.find((one) => one.id === set.convention.value);
  return meant ? `A window of ${set.window.value}. ${MEANT[meant.id]}: ${meant.label}` : `${mask.left} tokens back, ${mask.right} ahead`;
}

/** The grid, what it says of the token that looks, and what can be changed. */
function Board({ mask, children }: { mask: MaskInfo; children: preact.ComponentChildren }) {
  const [at, count] = [set.at.value, set.count.value];
  const all = computed(pairs(mask, count), "", "filled cells", { tokens: count }, "girih/spec/masks.py visible");
  return (
    <div class="board">
      <Grid mask={mask} tokens={count} at={at} />
      <div class="side">
        <p class="sentence" aria-live="polite">{sentence(mask, at, count)}</p>
        <p>
          It attends to <Chip num={seen(mask, at, count)} label="keys of the token" text={keys(seen(mask, at, count).value)} />;
          all {count} tokens together to <Chip num={all} label="pairs of all tokens" text={`${all.value.toLocaleString("en")} pairs`} />.
        </p>
        <Slider label="Token that looks" value={set.looking} min={1} max={count} />
        <Slider label="Tokens" value={set.tokens} min={0} max={0} among={set.TOKENS} />
        {children}
      </div>
    </div>
  );
}

function keys(count: number): string {
  return count === 1 ? "1 key" : `${count.toLocaleString("en")} keys`;
}

function Sliders() {
  switch (set.kind.value) {
    case "sliding":
      return set.convention.value === "apart" ? (
        <>
          <Slider label="Tokens back" value={set.left} min={0} max={Math.max(64, set.left.value)} />
          <Slider label="Tokens ahead" value={set.right} min={0} max={Math.max(64, set.right.value)} />
        </>
      ) : <Slider label="Window" value={set.window} min={1} max={Math.max(64, set.window.value)} />;
    case "chunked":
      return <Slider label="Tokens of a chunk" value={set.chunk} min={1} max={Math.max(64, set.chunk.value)} />;
    case "grouped":
      return (
        <>
          <Slider label="Tokens of a window" value={set.group} min={2} max={Math.max(64, set.group.value)} />
          <Slider label="Windows of a larger group" value={set.larger} min={1} max={16} text={(one) => (one > 1 ? String(one) : "no such")} />
          <Switch label="Tokens see later ones" value={set.ahead} />
        </>
      );
    case "prefix":
      return <Slider label="Tokens of the prefix" value={set.prefix} min={0} max={Math.max(64, set.prefix.value)} />;
    default:
      return null;
  }
}

function adopt(mask: MaskInfo): void {
  set.adopt(mask);
  set.follow(".mask-grid");
}

function OfLayer() {
  const [mask, branch] = [set.mask.value, set.branch.value];
  const wide = mask?.kind === "sliding" && mask.left >= set.count.value;
  const deep = mask?.kind === "grouped" && mask.sizes.length > 2;
  return (
    <Figure title={`Layer ${set.index.value} of ${info.value?.label ?? "the model"}`} hint={HINT} caption={branch?.text}>
      <Strip />
      {!mask && <p class="no-model">{branch
        ? "This layer has no mask: it carries a state from token to token, in which all that came before is held, fading."
        : "This layer mixes no tokens, so it has no mask."}</p>}
      {mask && (
        <Board mask={mask}>
          {branch && <Engine mask={mask} tokens={set.count.value} path={branch.path} />}
          {wide && <p class="quiet">The window is wider than the {set.count.value} tokens drawn; draw more to see its edge.</p>}
          {!deep && <button type="button" onClick={() => adopt(mask)}>Change it in the painter</button>}
        </Board>
      )}
    </Figure>
  );
}

/** One window, three meanings: each named, each with what the same token sees. */
function Conventions() {
  const size = set.whole(set.window.value, 1, 1 << 20);
  const [tokens, at] = [16, 7];
  return (
    <Figure
      title={`What "a window of ${size}" can mean`}
      caption="Papers, libraries and kernels disagree by one, and an off-by-one in a mask is silent. The spec has no such doubt: it says how many tokens back and how many ahead, the token itself always seen."
    >
      <ul class="conventions">
        {CONVENTIONS.map((one) => {
          const mask = one.mask(size);
          return (
            <li key={one.id} class={set.convention.value === one.id ? "on" : undefined}>
              <button type="button" aria-pressed={set.convention.value === one.id} onClick={() => (set.convention.value = one.id)}>
                <Thumb mask={mask} tokens={tokens} at={at} />
                <span>{MEANT[one.id]}: {one.label}</span>
              </button>
              <p>{sentence(mask, at, tokens)}</p>
              <Chip num={seen(mask, at, tokens)} label={`keys, ${one.label}`} text={keys(seen(mask, at, tokens).value)} />
            </li>
          );
        })}
      </ul>
    </Figure>
  );
}

export const view: View = {
  id: "mask",
  title: "Mask painter",
  question: "Which tokens can a token attend to?",
  group: "Look inside",
  Component: Mask,
};
