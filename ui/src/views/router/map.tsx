/** Where each token goes: tokens by experts, the weight of each pair as a colour. */

import { useMemo } from "preact/hooks";
import { param } from "../../app/url.ts";
import type { Tile, Token } from "../../data/types.ts";
import { Heatmap } from "../../parts/heatmap.tsx";
import { visible } from "../../parts/text.tsx";

const row = param("xt", 0);
const col = param("xe", 0);
const MOST_NAMES = 64;

interface Props {
  tokens: readonly Token[];
  /** [tokens, experts]: the weights of the chosen, or the scores of all. */
  tile: Tile;
  /** The weights, by which the chosen are known. */
  weights: ArrayLike<number>;
  shared: number;
  scores: boolean;
}

/** The chosen pairs as outlines. */
function outlines(weights: ArrayLike<number>, experts: number): string {
  let out = "";
  for (let i = 0; i < weights.length; i++) {
    if (weights[i]! > 0) out += `M${i % experts} ${Math.floor(i / experts)}h1v1h-1z`;
  }
  return out;
}

export function RouteMap({ tokens, tile, weights, shared, scores }: Props) {
  const [rows, experts] = tile.shape as [number, number];
  const path = useMemo(() => outlines(weights, experts), [weights, experts]);
  const unseen = useMemo(
    () => (scores ? undefined : (at: number, expert: number) => !(weights[at * experts + expert]! > 0)),
    [weights, experts, scores],
  );
  const say = (at: number, expert: number, value: number) => {
    const goes = weights[at * experts + expert]! > 0;
    const what = scores ? `score ${value.toFixed(3)}${goes ? ", chosen" : ", not chosen"}` : goes ? `weight ${value.toFixed(3)}` : "not chosen";
    return `token ${at} "${visible(tokens[at]?.text ?? "")}", expert ${expert}: ${what}`;
  };
  return (
    <div class="routes" style={{ "--experts": experts, "--tokens": rows }}>
      <Heatmap
        id="routes"
        label={scores ? "scores of the router" : "weights of the router"}
        rows={rows}
        cols={experts}
        values={tile.values}
        most={scores ? undefined : 1}
        hidden={unseen}
        row={row}
        col={col}
        say={say}
        rowName={(at) => visible(tokens[at]?.text ?? "")}
        colName={(expert) => `expert ${expert}`}
        tall={Math.min(0.5, 40 / rows)}
        over={
          <>
            {rows <= MOST_NAMES && (
              <ol class="row-names" aria-hidden="true">
                {tokens.slice(0, rows).map((one, at) => <li key={at} class={at === row.value ? "on" : undefined}>{visible(one.text)}</li>)}
              </ol>
            )}
            <ol class="col-names" aria-hidden="true">
              {Array.from({ length: experts }, (_, expert) => <li key={expert}>{experts <= 16 || expert % 8 === 0 ? expert : ""}</li>)}
            </ol>
            <svg class="chosen" viewBox={`0 0 ${experts} ${rows}`} preserveAspectRatio="none" aria-hidden="true"><path d={path} /></svg>
            {shared > 0 && <span class="always" aria-hidden="true"><b>{shared > 1 ? `${shared} shared` : "shared"}</b></span>}
          </>
        }
      />
      {shared > 0 && <p class="quiet">The striped column at the right stands for what is shared: every token goes there as well, and no choice is made.</p>}
    </div>
  );
}
