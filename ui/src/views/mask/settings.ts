/** What the mask painter is set to: kept in the address, and made into one mask. */

import { computed } from "@preact/signals";
import { layer } from "../../app/keys.tsx";
import { spec } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import type { BranchInfo, LayerInfo, MaskInfo } from "../../data/types.ts";
import { CONVENTIONS } from "../../numbers/masks.ts";

export const KINDS = ["sliding", "chunked", "grouped", "causal", "full", "prefix"] as const;
/** Lengths of a text that can be drawn. */
export const TOKENS = [8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512] as const;
export const LAYERS = 12;

/** One of KINDS, or "layer": the mask of a layer of the chosen model. */
export const kind = param("mk", "sliding");
export const tokens = param("mn", 16);
/** The token that looks, from 1; 0: the first of what is painted, the last for a layer, which sees most. */
export const query = param("mq", 0);
export const window = param("mw", 4);
/** One of CONVENTIONS, or "apart": left and right are given. */
export const convention = param("mc", "centred");
export const left = param("ml", 3);
export const right = param("mr", 0);
export const chunk = param("mz", 4);
export const group = param("mg", 4);
/** Windows of a larger group; 1: there is none. */
export const larger = param("mh", 1);
export const ahead = param("ma", false);
export const prefix = param("mf", 5);
export const layers = param("my", 4);
/** Each so many-th layer is global; 0: none. */
export const every = param("me", 0);

/** A whole number between two, whatever the address says. */
export function whole(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(Math.round(value) || low, high));
}

/** The branch by which a layer mixes tokens; null where it only works on each alone. */
export function mixing(one: LayerInfo | undefined): BranchInfo | null {
  return one?.branches.find((branch) => branch.mask || branch.scan) ?? null;
}

export const modelLayers = computed(() => spec.value?.stacks[0]?.layers ?? []);
/** The layer that is looked at: the last one where the address names one beyond. */
export const index = computed(() => whole(layer.value, 0, Math.max(0, modelLayers.value.length - 1)));
export const branch = computed(() => mixing(modelLayers.value[index.value]));

export const count = computed(() => whole(tokens.value, 1, TOKENS.at(-1)!));
/** The token that looks, from 0. */
export const at = computed(() => {
  const first = kind.value === "layer" ? count.value : 1;
  return whole(query.value || first, 1, count.value) - 1;
});
/** The same from 1, for a slider. */
export const looking = {
  get value() {
    return at.value + 1;
  },
  set value(token: number) {
    query.value = token;
  },
};

function sliding(): MaskInfo {
  const size = whole(window.value, 1, 1 << 20);
  const meant = CONVENTIONS.find((one) => one.id === convention.value);
  if (meant) return meant.mask(size);
  return { kind: "sliding", left: whole(left.value, 0, 1 << 20), right: whole(right.value, 0, 1 << 20) };
}

function painted(): MaskInfo {
  switch (kind.value) {
    case "chunked":
      return { kind: "chunked", size: whole(chunk.value, 1, 1 << 20) };
    case "grouped": {
      const sizes = [whole(group.value, 2, 512)];
      if (larger.value > 1) sizes.push(whole(larger.value, 2, 512));
      return { kind: "grouped", sizes, ahead: ahead.value };
    }
    case "causal":
    case "full":
      return { kind: kind.value };
    case "prefix":
      return { kind: "prefix", length: whole(prefix.value, 0, 1 << 20) };
    default:
      return sliding();
  }
}

/** The mask that is drawn; null where the chosen layer has none. */
export const mask = computed<MaskInfo | null>(() =>
  kind.value === "layer" ? (branch.value?.mask ?? null) : painted(),
);

/** Take a mask into the painter, to change it there. */
export function adopt(one: MaskInfo): void {
  kind.value = one.kind;
  if (one.kind === "chunked") chunk.value = one.size;
  if (one.kind === "prefix") prefix.value = one.length;
  if (one.kind === "grouped") {
    group.value = one.sizes[0]!;
    larger.value = one.sizes[1] ?? 1;
    ahead.value = one.ahead ?? false;
  }
  if (one.kind !== "sliding") return;
  [left.value, right.value] = [one.left, one.right];
  const even = one.left === one.right;
  convention.value = even ? "centred" : one.right ? "apart" : "causal";
  window.value = even ? 2 * one.left : one.left + 1;
}

/** Keep the keyboard where its key led, once that is drawn. */
export function follow(selector: string): void {
  setTimeout(() => document.querySelector<HTMLElement>(`.view-mask ${selector}`)?.focus(), 50);
}
