/** The matrix of scores that is never made: its tiles, those that are done, and those that need not be. */

import type { BranchInfo } from "../../data/types.ts";
import { span } from "../../numbers/masks.ts";
import { maskOf } from "../../parts/heads.tsx";
import type { Block } from "./index.tsx";

interface Props {
  branch: BranchInfo;
  tokens: number;
  block: number;
  row: number;
  blocks: readonly Block[];
  now: number;
}

const SIDE = 320;
/** More tiles a side would be finer than the eye sees. */
const MOST = 40;

export function Tiles({ branch, tokens, block, row, blocks, now }: Props) {
  const shown = Math.min(Math.ceil(tokens / block), MOST);
  const unit = SIDE / shown;
  const tile = tokens / shown;
  const mask = maskOf(branch);
  const needed = (r: number, c: number) => {
    for (let query = Math.floor(r * tile); query < Math.min(tokens, (r + 1) * tile); query++) {
      const { first, last } = span(mask, query, tokens);
      if (first < (c + 1) * tile && c * tile <= last) return true;
    }
    return false;
  };
  const at = blocks[Math.min(now, blocks.length - 1)];
  const y = (row / tokens) * SIDE;
  const thin = Math.max(SIDE / tokens, 2);
  const cells = [];
  for (let r = 0; r < shown; r++) for (let c = 0; c < shown; c++) if (needed(r, c)) cells.push([r, c] as const);
  return (
    <figure class="tiles">
      <svg viewBox={`0 0 ${SIDE} ${SIDE}`} role="img"
        aria-label={`${tokens} by ${tokens} scores in tiles of ${block}; the row of token ${row} is at keys ${at?.first ?? 0} to ${at?.last ?? 0}`}>
        <rect class="never" width={SIDE} height={SIDE} />
        {cells.map(([r, c]) => <rect key={`${r} ${c}`} class="needed" x={c * unit} y={r * unit} width={unit} height={unit} />)}
        {blocks.slice(0, now + 1).map((one, index) => one.first < tokens && (
          <rect key={one.first} class={index === now ? "done on" : "done"} x={(one.first / tokens) * SIDE} y={y}
            width={((Math.min(one.last, tokens - 1) + 1 - one.first) / tokens) * SIDE} height={thin} />
        ))}
        <rect class="row" x="0" y={y} width={SIDE} height={thin} />
      </svg>
      <figcaption class="quiet">
        Queries go down, keys to the right. Empty tiles are hidden by the mask and never touched; the row of token {row} is filled as far as the step has come.
        {blocks.some((one) => one.last >= tokens) && " The representatives of windows are keys beyond the right edge."}
      </figcaption>
    </figure>
  );
}
