/** A bar for each token: how wide its step is, and in colour how much of the state it keeps. */

import { param } from "../../app/url.ts";
import type { BranchInfo, Num, Tile, Token } from "../../data/types.ts";
import { digits } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { css } from "../../parts/colours.ts";
import { Figure } from "../../parts/figure.tsx";
import { Tokens, visible } from "../../parts/text.tsx";
import { half, means } from "./scan.ts";

/** The token that is looked at, from 0. */
export const token = param("lt", 8);

interface Props {
  tokens: readonly Token[];
  /** [tokens, channels]; null for a scan that takes every token alike. */
  delta: Tile | null;
  keep: Tile;
  branch: BranchInfo;
}

/** A mean over channels as a number that was measured. */
export function measured(value: number, unit: Num["unit"], expr: string, path: string, note?: string): Num {
  return { value, unit, kind: "measured", expr, inputs: null, source: path, note: note ?? null };
}

export function Steps({ tokens, delta, keep, branch }: Props) {
  const rule = branch.kind === "delta";
  const kept = means(keep);
  const steps = delta ? means(delta) : kept.map(() => 1);
  const most = Math.max(...steps, 1e-12);
  const at = Math.max(0, Math.min(token.value, kept.length - 1));
  const step = measured(steps[at]!, "", rule ? "mean over heads of beta" : "mean over channels of delta", branch.path);
  const left = measured(100 * kept[at]!, "%", rule ? "100 * mean over heads of the decay" : "100 * mean over channels of exp(delta * A)", branch.path);
  const gone = measured(half(kept[at]!), "tokens", "log(1/2) / log(keep)", branch.path, "if every token kept as much as this one");
  return (
    <Figure
      title={rule ? "What each token writes, and what it keeps" : "The step of each token, and what it keeps"}
      caption={rule
        ? "The height is the share of its value that a token writes (beta), the colour how much of what was there before is kept: bright is nearly all."
        : "The height is the step (delta): a token with a wide step writes much into the state. The colour is keep = exp(delta A): bright keeps nearly all of what was there, dark forgets."}
      hint={{
        look: "for tall dark bars: these tokens make room for themselves.",
        change: "the token with the arrow keys, or the text.",
        why: "this choice, made anew at each token, is what selective in selective state space means.",
      }}
    >
      <Bars steps={steps} kept={kept} most={most} at={at} />
      <Scale />
      <Tokens tokens={tokens} at={token} />
      <p class="said" aria-live="polite">
        Token {at} <code>{visible(tokens[at]?.text ?? "")}</code>{" "}
        {delta && <>{rule ? "writes" : "takes a step of"} <Chip num={step} label="step" text={digits(step.value)} /> and </>}
        keeps <Chip num={left} label="kept" text={`${kept[at]! > 0.9999 ? left.value.toFixed(4) : digits(left.value)} %`} /> of the state;
        at this rate half is gone after <Chip num={gone} label="half-life" text={`${gone.value > 1e6 ? "over a million" : digits(gone.value)} tokens`} />.
      </p>
    </Figure>
  );
}

const HIGH = 40;

function Bars({ steps, kept, most, at }: { steps: number[]; kept: number[]; most: number; at: number }) {
  const point = (event: PointerEvent) => {
    if (event.type === "pointermove" && event.buttons !== 1) return;
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    token.value = Math.max(0, Math.min(Math.floor(((event.clientX - box.left) / box.width) * steps.length), steps.length - 1));
  };
  return (
    <svg class="steps" viewBox={`0 0 ${steps.length} ${HIGH}`} preserveAspectRatio="none" aria-hidden="true"
      onPointerDown={point} onPointerMove={point}>
      {steps.map((step, index) => {
        const high = Math.max((HIGH * step) / most, 0.4);
        return <rect key={index} class="step" data-token={index} x={index + 0.06} width={0.88} y={HIGH - high} height={high} fill={css(kept[index]!)} />;
      })}
      <rect class="at" x={at} width={1} y={0} height={HIGH} />
    </svg>
  );
}

/** What the colours mean. */
function Scale() {
  return (
    <p class="scale">
      <span>keeps nothing</span>
      <span class="ramp" aria-hidden="true" style={{ background: `linear-gradient(90deg, ${[0.001, 0.2, 0.4, 0.6, 0.8, 1].map(css).join(", ")})` }} />
      <span>keeps all</span>
    </p>
  );
}
