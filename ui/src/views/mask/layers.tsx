/** The layers of the chosen model by their masks, and the engine's own mask beside ours. */

import { layer } from "../../app/keys.tsx";
import { info } from "../../app/session.ts";
import { source } from "../../data/source.ts";
import type { LayerInfo, MaskInfo } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Failed, useReading } from "../../parts/figure.tsx";
import { agreement, grid } from "./cells.ts";
import { follow, index as here, kind, mixing, modelLayers } from "./settings.ts";

/** The letter of a layer in the strip, and what it means. */
const LETTERS = {
  causal: ["G", "global: all that came before"],
  sliding: ["W", "a sliding window"],
  chunked: ["C", "chunks"],
  grouped: ["R", "windows and representatives"],
  full: ["B", "both ways: the whole text"],
  prefix: ["P", "both ways in a prefix"],
  state: ["S", "a state instead of a mask: all that came before, fading"],
  none: ["·", "no mixing of tokens"],
} as const;

type Mixed = keyof typeof LETTERS;

export function mixed(one: LayerInfo): Mixed {
  const branch = mixing(one);
  return branch?.mask?.kind ?? (branch ? "state" : "none");
}

/** What a layer lets through, as a mask; null for one that mixes nothing. */
export function through(one: LayerInfo): MaskInfo | null {
  const branch = mixing(one);
  return branch?.mask ?? (branch ? { kind: "causal" } : null);
}

export function Strip() {
  const all = modelLayers.value;
  const now = kind.value === "layer" ? here.value : null;
  const kinds = [...new Set(all.map(mixed))];
  const pick = (index: number) => {
    layer.value = Math.max(0, Math.min(index, all.length - 1));
    kind.value = "layer";
    follow(".strip [aria-pressed=true]");
  };
  const press = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const buttons = [...(event.currentTarget as HTMLElement).querySelectorAll("button")];
    const next = buttons.indexOf(event.target as HTMLButtonElement) + by;
    buttons[next]?.focus();
    pick(next);
  };
  return (
    <>
      <div class="strip" role="group" aria-label={`layers of ${info.value?.label ?? "the model"}`} onKeyDown={press}>
        {all.map((one, index) => {
          const [letter, meaning] = LETTERS[mixed(one)];
          const on = index === now;
          return (
            <button key={index} type="button" class={mixed(one)} aria-pressed={on} title={`layer ${index}: ${meaning}`}
              aria-label={`${letter}${index}: layer ${index}, ${meaning}`} onClick={() => pick(index)}>
              <b>{letter}</b><small>{index}</small>
            </button>
          );
        })}
      </div>
      <p class="legend">
        {kinds.map((one) => <span key={one} class={one}><b>{LETTERS[one][0]}</b> {LETTERS[one][1]}</span>)}
      </p>
    </>
  );
}

/** Our cells against those of the mask that the engine makes for this layer. */
export function Engine({ mask, tokens, path }: { mask: MaskInfo; tokens: number; path: string }) {
  const { value, error } = useReading(
    async (one) => ({ tile: await source.tile({ run: one.run, kind: "mask", layer: path, n: tokens }), path, tokens }),
    [path, tokens],
  );
  if (error) return <Failed error={error} />;
  if (!value || value.path !== path || value.tokens !== tokens) return <p class="quiet">Asking the engine for its mask.</p>;
  const { same, of } = agreement(grid(mask, tokens).cells, value.tile.values);
  const num = { ...computed(same, "", "cells that are the same in both", { cells: of }, path), kind: "measured" as const };
  return (
    <p class={same === of ? "agrees" : "differs"} id="engine-mask">
      The engine's mask of this layer: the same in{" "}
      <Chip num={num} label="cells that are the same" text={same.toLocaleString("en")} /> of {of.toLocaleString("en")} cells.
    </p>
  );
}
