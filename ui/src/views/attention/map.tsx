/** The chosen map: all of it, or of a long text the largest of every few cells and a part as it is. */

import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { source } from "../../data/source.ts";
import type { Read } from "../../data/types.ts";
import { digits } from "../../numbers/format.ts";
import { css } from "../../parts/colours.ts";
import { Waiting, useAsked } from "../../parts/figure.tsx";
import { useLinked, maskOf } from "../../parts/heads.tsx";
import { Heatmap } from "../../parts/heatmap.tsx";
import { visible } from "../../parts/text.tsx";
import { columns, seesColumn, unseen } from "./nucleus.ts";
import { first } from "./queue.ts";
import type { Maps } from "./index.tsx";

/** Tokens a side of the part of a long text that is shown cell by cell. */
const PART = 64;

interface Props {
  maps: Maps;
  query: Signal<number>;
  at: Signal<number>;
}

export function AttentionMap({ maps, query, at }: Props) {
  return (
    <div class="one-map">
      <h3>Layer {maps.layer}, head {maps.head}</h3>
      {maps.pool === 1 ? <Whole maps={maps} query={query} at={at} /> : <Pooled maps={maps} query={query} at={at} />}
      <Scale />
      {maps.groups && <Groups maps={maps} query={query} />}
    </div>
  );
}

/** Which colour is which weight; evenly spaced colours are squares, so that small weights are seen. */
function Scale() {
  const stops = Array.from({ length: 9 }, (_, at) => css(at / 8)).join(", ");
  return (
    <p class="scale">
      <span>0</span>
      <i aria-hidden="true" style={{ background: `linear-gradient(to right, ${stops})` }} />
      <span>1</span>
      <span>a quarter is in the middle, so that small weights show</span>
    </p>
  );
}

function named(read: Read, place: number): string {
  return `${place} ${visible(read.tokens[place]?.text ?? "")}`;
}

function said(read: Read, query: number, key: number, value: number): string {
  const from = `token ${named(read, query)}`;
  if (Number.isNaN(value)) return `${from} does not see token ${named(read, key)}`;
  return `${from} takes ${digits(Number(value.toPrecision(3)))} from token ${named(read, key)}`;
}

function Whole({ maps, query, at }: Props) {
  const { read, tile, branch } = maps;
  const tokens = read.tokens.length;
  const hidden = useMemo(() => unseen(maskOf(branch), tokens), [branch, tokens]);
  return (
    <Heatmap id="attention-map" label={`attention of layer ${maps.layer} head ${maps.head}, rows look at columns`}
      rows={tokens} cols={tokens} values={tile.values} most={1} shade={Math.sqrt} hidden={hidden} row={query} col={at}
      say={(row, col, value) => said(read, row, col, value)}
      rowName={(row) => named(read, row)} colName={(col) => named(read, col)} />
  );
}

/** Of a long text: the largest weight of every few tokens, and around the cursor every cell. */
function Pooled({ maps, query, at }: Props) {
  const { read, tile, branch, pool } = maps;
  const [rows, cols] = tile.shape as [number, number];
  const tokens = read.tokens.length;
  const cell = (place: number) => Math.floor(place / pool);
  const row = useLinked(query, cell, (place) => place * pool, [pool]);
  const col = useLinked(at, cell, (place) => place * pool, [pool]);
  const hidden = useMemo(() => unseen(maskOf(branch), tokens, pool), [branch, tokens, pool]);
  return (
    <>
      <Heatmap id="attention-map" label={`attention of layer ${maps.layer} head ${maps.head}, a cell is ${pool} by ${pool} tokens`}
        rows={rows} cols={cols} values={tile.values} most={1} shade={Math.sqrt} hidden={hidden} row={row} col={col}
        say={(one, other, value) => `${said(read, one * pool, other * pool, value)}${Number.isNaN(value) ? "" : ", or one of their neighbours does"}`} />
      <Part maps={maps} query={query} at={at} />
    </>
  );
}

function Part({ maps, query, at }: Props) {
  const { read, branch, head } = maps;
  const tokens = read.tokens.length;
  const start = (place: number) => Math.max(0, Math.min(Math.floor(place / PART) * PART, tokens - PART));
  const [r0, c0] = [start(query.value), start(at.value)];
  const { value } = useAsked(
    async () => ({ r0, c0, tile: await first(source.tile({ kind: "attn", run: read.run, layer: branch.path, head, r0, c0, rows: PART, cols: PART, pool: 1 })) }),
    [read.run, branch.path, head, r0, c0],
  );
  const row = useLinked(query, (place) => place - r0, (place) => place + r0, [r0]);
  const col = useLinked(at, (place) => place - c0, (place) => place + c0, [c0]);
  if (!value) return <Waiting text="Fetching the part around the cursor." />;
  const hidden = unseen(maskOf(branch), tokens);
  return (
    <>
      <h3>Tokens {value.r0} to {value.r0 + PART - 1}, cell by cell</h3>
      <Heatmap id="attention-part" label="the part of the map around the cursor" rows={PART} cols={PART} values={value.tile.values} most={1} shade={Math.sqrt}
        row={row} col={col} hidden={(one, other) => hidden(one + value.r0, other + value.c0)}
        say={(one, other, weight) => said(read, one + value.r0, other + value.c0, weight)} />
    </>
  );
}

/** What tokens take from the representatives of earlier windows. */
function Groups({ maps, query }: { maps: Maps; query: Signal<number> }) {
  const { read, branch, groups } = maps;
  const tokens = read.tokens.length;
  const mask = maskOf(branch);
  const names = useMemo(() => columns(mask, tokens), [branch, tokens]);
  const at = useSignal(0);
  const hidden = useMemo(() => {
    const rows = Array.from({ length: tokens }, (_, row) => seesColumn(mask, row, tokens));
    return (row: number, col: number) => !names[col] || !rows[row]?.(names[col]);
  }, [names]);
  if (!groups?.values.length) return null;
  const count = groups.shape[1]!;
  // Rows half as high as those of the map, columns wide enough to be told apart.
  const width = Math.min(1, Math.max(0.2, (2 * count) / tokens));
  const name = (col: number) => (names[col] ? `${names[col].first}-${names[col].last}` : String(col));
  return (
    <div class="groups" style={{ "--share": `${100 * width}%` }}>
      <h3>The representatives of earlier windows</h3>
      <Heatmap id="attention-groups" label="what tokens take from representatives" rows={tokens} cols={count} values={groups.values} most={1} shade={Math.sqrt}
        tall={count / (2 * width * tokens)} hidden={hidden} row={query} col={at} rowName={(row) => named(read, row)} colName={name}
        say={(row, col, value) =>
          Number.isNaN(value)
            ? `token ${named(read, row)} does not see the representative of tokens ${name(col)}`
            : `token ${named(read, row)} takes ${digits(Number(value.toPrecision(3)))} from the representative of tokens ${name(col)}`
        } />
    </div>
  );
}

