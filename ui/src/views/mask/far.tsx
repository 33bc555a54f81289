/** How far word travels when layers are stacked: the cone of tokens that can reach one token. */

import { info } from "../../app/session.ts";
import type { MaskInfo } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { reach } from "../../numbers/masks.ts";
import { Chip } from "../../parts/chip.tsx";
import { Slider, Controls } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import { through } from "./layers.tsx";
import { stacked, unbounded } from "./stacked.ts";
import { at, count, every, index, kind, LAYERS, layers, mask, modelLayers, whole } from "./settings.ts";

function Cone({ masks, tokens, query }: { masks: readonly MaskInfo[]; tokens: number; query: number }) {
  const tall = masks.length + 1;
  const rows = Array.from({ length: tall }, (_, row) => ({ row, ...reach(masks.slice(tall - 1 - row), query, tokens) }));
  return (
    <svg class="cone" viewBox={`0 0 ${tokens} ${tall}`} preserveAspectRatio="none" aria-hidden="true"
      style={{ height: `${Math.min(1.4 * tall, 14)}rem` }}>
      <rect class="ground" width={tokens} height={tall} />
      {rows.map(({ row, first, last }) => (
        <rect key={row} class={row ? "heard" : "top"} x={first} y={row} width={last - first + 1} height={0.86} />
      ))}
    </svg>
  );
}

function text(masks: readonly MaskInfo[]): string {
  if (masks.length && masks.every((one) => one.kind === "chunked")) {
    return "chunks never speak to each other: more layers change nothing.";
  }
  if (masks.some((one) => one.kind === "grouped")) return "one such layer is enough: representatives carry word from everywhere.";
  return "a layer that sees everything before is passed, so word from everywhere arrives.";
}

export function Far() {
  const own = kind.value !== "layer";
  const drawn = mask.value;
  const tall = whole(layers.value, 1, LAYERS);
  const masks = own
    ? stacked(drawn ?? { kind: "causal" }, tall, whole(every.value, 0, LAYERS))
    : modelLayers.value.slice(0, index.value + 1).flatMap((one) => through(one) ?? []);
  const { first, last } = reach(masks, at.value, count.value);
  const sight = computed(last - first + 1, "tokens", "last - first + 1", { first: first + 1, last: last + 1 }, "girih/spec/masks.py");
  const limit = unbounded(masks);
  return (
    <Figure
      title={own ? "How far word travels through a stack of such layers" : `How far word travels up to layer ${index.value} of ${info.value?.label ?? "the model"}`}
      caption="The top row is the token that looks, at the output of the last layer; each row below is one layer lower, and shows the tokens whose vectors can still reach it. The lowest row is the text itself."
      hint={{
        look: "at how the cone widens from the top row down: each layer lets word travel one window further.",
        change: own ? "the number of layers, or make every so many-th one global." : "the layer in the strip above.",
        why: "a model with small windows still reads long texts: information is handed on from layer to layer.",
      }}
    >
      {own && (
        <Controls>
          <Slider label="Layers" value={layers} min={1} max={LAYERS} />
          <Slider label="Global layers" value={every} min={0} max={LAYERS}
            text={(value) => (value === 0 ? "none" : value === 1 ? "every one" : `every ${value}th`.replace("2th", "2nd").replace("3th", "3rd"))} />
        </Controls>
      )}
      <Cone masks={masks} tokens={count.value} query={at.value} />
      <p class="reach">
        After {masks.length} {masks.length === 1 ? "layer" : "layers"} token {at.value + 1} holds word of{" "}
        <Chip num={sight} label="tokens in reach" text={sight.value === 1 ? "1 token" : `${sight.value.toLocaleString("en")} tokens`} /> of the {count.value} drawn
        {last > first ? `: ${first + 1}-${last + 1}. ` : ". "}
        {limit ? <>In a text without end: <Chip num={limit} label="reach in a text without end" />.</> : <>In a text without end: {text(masks)}</>}
      </p>
    </Figure>
  );
}
