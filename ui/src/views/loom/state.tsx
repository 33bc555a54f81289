/** The state itself: how full each channel is at a token, and what the whole costs at any length. */

import { useMemo } from "preact/hooks";
import { info, sampleOf, spec } from "../../app/session.ts";
import { source } from "../../data/source.ts";
import type { BranchInfo, SpecInfo, Tile, Token } from "../../data/types.ts";
import { computed, digits } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Slider } from "../../parts/controls.tsx";
import { Figure, useAsked } from "../../parts/figure.tsx";
import { largest } from "../../parts/heatmap.tsx";
import { Lines } from "../../parts/lines.tsx";
import { branchesOf } from "../../parts/stack.tsx";
import { visible } from "../../parts/text.tsx";
import { crossing, length } from "./scan.ts";
import { measured, token } from "./steps.tsx";

const HIGH = 40;

export function Norms({ tokens, tile, branch }: { tokens: readonly Token[]; tile: Tile; branch: BranchInfo }) {
  const [rows, cols] = tile.shape as [number, number];
  const most = useMemo(() => largest(tile.values) || 1, [tile]);
  const at = Math.max(0, Math.min(token.value, rows - 1));
  const row = tile.values.subarray(at * cols, (at + 1) * cols);
  const whole = measured(length(row), "", "root of the sum of the squares of all numbers of the state", branch.path);
  const many = branch.scan?.heads ?? branch.scan?.channels ?? cols;
  return (
    <Figure
      title="The state after a token"
      caption={`A bar for ${many > cols ? `each of ${cols} groups of neighbouring channels (${many} in all)` : branch.kind === "mamba2" || branch.kind === "delta" ? "each head" : "each channel"}: the length of what it remembers. The scale stays, so bars can be compared from token to token.`}
      hint={{
        look: "at which bars stay while others come and go.",
        change: "the token with the slider.",
        why: "this row of numbers is all that the layer knows of the text so far, however long it was.",
      }}
    >
      <svg class="norms" viewBox={`0 0 ${cols} ${HIGH}`} preserveAspectRatio="none" aria-hidden="true">
        {Array.from(row, (value, index) => (
          <rect key={index} x={index + 0.08} width={0.84} y={HIGH - (HIGH * value) / most} height={(HIGH * value) / most} />
        ))}
      </svg>
      <Slider label="After token" value={token} min={0} max={rows - 1} text={(one) => `${one} ${visible(tokens[one]?.text ?? "")}`} />
      <p>The length of the whole state is <Chip num={whole} label="length of the state" text={digits(whole.value)} />.</p>
    </Figure>
  );
}

const CONTEXTS = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000];

/** A layer whose state grows, of this model or of a tiny one. */
function growing(one: SpecInfo | null): BranchInfo | null {
  return branchesOf(one ?? EMPTY).find((branch) => branch.mask && branch.per_token.value > 0) ?? null;
}

const EMPTY = { stacks: [] } as unknown as SpecInfo;

export function Flat({ branch }: { branch: BranchInfo }) {
  const own = growing(spec.value);
  const other = own ? null : sampleOf(["gqa", "mha", "latent"]);
  const asked = useAsked<SpecInfo>(other ? () => source.json("GET", `api/spec/${encodeURIComponent(other)}`) : null, [other]);
  const beside = own ?? growing(asked.value);
  const name = own ? "an attention layer of it" : `an attention layer of ${asked.value?.label ?? "another model"}`;
  const fixed = branch.fixed.value;
  const lines = [{ name: "this layer", values: CONTEXTS.map(() => fixed) }];
  const each = beside?.per_token.value ?? 0;
  if (beside) lines.push({ name, values: CONTEXTS.map((tokens) => each * Math.min(tokens, beside.window ?? tokens)) });
  const from = beside ? crossing(fixed, each, beside.window) : null;
  return (
    <Figure
      title="What the state costs at any length"
      caption={`Both axes in powers. ${info.value?.label ?? "The model"} holds the same state after one token and after ten thousand; attention keeps every token, so its line rises.`}
    >
      <p>
        State of this layer: <Chip num={branch.fixed} label="state of this layer" />, at token 1 and at token 10,000.
        {beside && <> One more token costs {name} <Chip num={beside.per_token} label="state of a token in attention" />.</>}
        {from !== null && <> From token <Chip num={computed(from, "tokens", "fixed // per_token + 1", { fixed, per_token: each })} label="tokens from which attention holds more" text={from.toLocaleString("en")} /> on that is more.</>}
      </p>
      <Lines label="bytes of state against tokens" at={CONTEXTS} lines={lines} />
    </Figure>
  );
}
