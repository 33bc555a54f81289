/** The step that is looked at, in words and numbers, and all steps as three small curves. */

import type { Signal } from "@preact/signals";
import type { MaskInfo, Token } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { sees } from "../../numbers/masks.ts";
import { Chip } from "../../parts/chip.tsx";
import { Slider } from "../../parts/controls.tsx";
import { measured } from "../../parts/heads.tsx";
import { visible } from "../../parts/text.tsx";
import type { Block } from "./index.tsx";

/** Keys of a block that are named. */
const SHOWN = 32;

interface Props {
  mask: MaskInfo;
  blocks: readonly Block[];
  now: Signal<number>;
  tokens: readonly Token[];
  row: number;
}

export function Step({ mask, blocks, now, tokens, row }: Props) {
  const at = Math.min(now.value, blocks.length - 1);
  const block = blocks[at];
  if (!block) return <p>No key is seen by this token.</p>;
  return (
    <div class="step">
      <Buttons now={now} at={at} count={blocks.length} />
      <p class="step-said" role="status">
        Block {at + 1} of {blocks.length}: {keys(block, tokens.length)}, {words(block, blocks[at - 1])}
      </p>
      <p class="step-keys">
        {tokens.slice(block.first, Math.min(block.last, block.first + SHOWN - 1) + 1).map((token, index) => {
          const seen = sees(mask, row, block.first + index, tokens.length);
          return <span key={index} class={seen ? "token" : "token beyond"} title={seen ? undefined : "not seen"}>{visible(token.text)}</span>;
        })}
        {Math.min(block.last, tokens.length - 1) - block.first >= SHOWN && " and more"}
      </p>
      <dl class="running">
        <dt>largest score m</dt>
        <dd><Chip label="largest score" num={measured(block.max, "", "max(m, scores of the block)")} /><Curve blocks={blocks} at={at} of={(one) => one.max} /></dd>
        <dt>rescale</dt>
        <dd><Chip label="rescale" num={rescale(block, blocks[at - 1])} /><Curve blocks={blocks} at={at} of={(one) => one.scale} floor={0} /></dd>
        <dt>sum l</dt>
        <dd><Chip label="sum" num={measured(block.sum, "", "l * rescale + sum(exp(scores - m))")} /><Curve blocks={blocks} at={at} of={(one) => one.sum} floor={0} /></dd>
        <dt>size of the output</dt>
        <dd><Chip label="norm of the output" num={measured(block.output_norm, "", "|output so far|")} /><Curve blocks={blocks} at={at} of={(one) => one.output_norm} floor={0} /></dd>
      </dl>
    </div>
  );
}

function Buttons({ now, at, count }: { now: Signal<number>; at: number; count: number }) {
  // Not disabled at the ends: a button that is loses the keyboard.
  const go = (to: number) => () => (now.value = Math.max(0, Math.min(to, count - 1)));
  return (
    <div class="step-buttons">
      <button type="button" aria-disabled={at === 0} onClick={go(at - 1)}>Back</button>
      <button type="button" class={at < count - 1 ? "main" : undefined} aria-disabled={at === count - 1} onClick={go(at + 1)}>Next block</button>
      {count > 1 && <Slider label="Block" value={now} min={0} max={count - 1} text={(one) => `${Math.min(one, count - 1) + 1} of ${count}`} />}
    </div>
  );
}

function keys(block: Block, tokens: number): string {
  if (block.first >= tokens) return `representatives ${block.first - tokens} to ${block.last - tokens}`;
  const last = Math.min(block.last, tokens - 1);
  const others = block.last >= tokens ? ` and ${block.last - tokens + 1} representatives` : "";
  return (block.first === last ? `key ${last}` : `keys ${block.first} to ${last}`) + others;
}

function words(block: Block, before: Block | undefined): string {
  if (!before) return "the first: nothing has to be mended yet.";
  if (block.max > before.max) return "with a larger score than any before: the sum and the output so far are scaled down.";
  return "with no larger score: the sum and the output so far stay as they are.";
}

function rescale(block: Block, before: Block | undefined) {
  if (!before) return measured(block.scale, "", "nothing was summed before");
  return computed(block.scale, "", "exp(m_before - m_now)", { m_before: before.max, m_now: block.max });
}

interface CurveProps {
  blocks: readonly Block[];
  at: number;
  of: (one: Block) => number;
  floor?: number;
}

/** A number over all blocks, the one of now marked. */
function Curve({ blocks, at, of, floor }: CurveProps) {
  const values = blocks.map(of).filter(Number.isFinite);
  const low = floor ?? Math.min(...values);
  const high = Math.max(...values, low + 1e-9);
  const x = (index: number) => 4 + (index * 192) / Math.max(blocks.length - 1, 1);
  const y = (value: number) => 28 - (24 * (value - low)) / (high - low);
  const points = blocks.map((one, index) => `${x(index)},${y(Number.isFinite(of(one)) ? of(one) : low)}`).join(" ");
  return (
    <svg class="curve" viewBox="0 0 200 32" aria-hidden="true" preserveAspectRatio="none">
      <polyline points={points} />
      <line x1={x(at)} x2={x(at)} y1="1" y2="31" />
    </svg>
  );
}
