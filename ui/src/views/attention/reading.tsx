/** One query of a map in words, numbers and bars. */

import type { Signal } from "@preact/signals";
import { Fragment } from "preact";
import { useMemo } from "preact/hooks";
import { source } from "../../data/source.ts";
import { computed, digits } from "../../numbers/format.ts";
import { seen, sees } from "../../numbers/masks.ts";
import { Chip } from "../../parts/chip.tsx";
import { useAsked, Waiting } from "../../parts/figure.tsx";
import { measured, maskOf } from "../../parts/heads.tsx";
import { visible } from "../../parts/text.tsx";
import type { Maps } from "./index.tsx";
import { columns, nucleus, ranked, seesColumn, total } from "./nucleus.ts";
import { first } from "./queue.ts";
import { WeightRow } from "./row.tsx";

interface Props {
  maps: Maps;
  query: Signal<number>;
  /** The share that the keys that stand out carry. */
  mass: number;
}

export function Reading({ maps, query, mass }: Props) {
  const found = useRow(maps, query.value);
  if (!found) return <Waiting text="Fetching the row." />;
  return <Row maps={maps} query={query} mass={mass} now={found.query} row={found.row} />;
}

interface Found {
  /** The query that it is the row of; while another one is fetched, that of before. */
  query: number;
  row: Float32Array;
}

/** The weights of a query: of the map at hand, or of a long text asked for. */
function useRow(maps: Maps, query: number): Found | null {
  const { read, tile, pool, branch, head } = maps;
  const tokens = read.tokens.length;
  const asked = { kind: "attn", run: read.run, layer: branch.path, head, r0: query, c0: 0, rows: 1, cols: tokens, pool: 1 };
  const far = useAsked(
    pool === 1 ? null : async () => ({ query, row: (await first(source.tile(asked))).values }),
    [read.run, branch.path, head, query, pool],
  );
  return pool === 1 ? { query, row: tile.values.subarray(query * tokens, (query + 1) * tokens) } : far.value;
}

function Row({ maps, query, mass, now, row }: Props & { now: number; row: Float32Array }) {
  const { read, branch, groups } = maps;
  const tokens = read.tokens.length;
  const mask = maskOf(branch);
  const far = useMemo(() => {
    const count = groups?.shape[1] ?? 0;
    return groups ? groups.values.subarray(now * count, (now + 1) * count) : new Float32Array(0);
  }, [groups, now]);
  const all = useMemo(() => Float32Array.from([...row, ...far]), [row, far]);
  const order = useMemo(() => ranked(all), [all]);
  const kept = nucleus(all, mass, order);
  const windows = useMemo(() => columns(mask, tokens), [branch, tokens]);
  const name = (at: number) => (at < tokens ? visible(read.tokens[at]!.text) : `tokens ${windows[at - tokens]?.first}-${windows[at - tokens]?.last}`);
  const heaviest = order.slice(0, 3).filter((at) => all[at]! > 0);
  return (
    <div class="reading">
      <h3>Token {now} <span class="token on">{visible(read.tokens[now]!.text)}</span></h3>
      <p class="carry">
        <Chip label="keys that carry it" num={measured(kept.size, "", `fewest keys whose weights sum to ${digits(mass)}`, "counted in this row of the map")} />
        {" of "}<Chip label="keys it sees" num={{ ...seen(mask, now, tokens), unit: "" }} /> keys carry{" "}
        <Chip label="the share" num={computed(100 * mass, "%", "what the slider says", {})} /> of what it takes
        {heaviest.length > 0 && ", most of it from "}
        {heaviest.map((at, index) => (
          <Fragment key={at}>
            {index > 0 && " "}
            <span class="from">
              <span class="token">{name(at)}</span> <Chip label={`weight of ${name(at)}`} num={weight(all[at]!)} />
              {index < heaviest.length - 1 ? "," : "."}
            </span>
          </Fragment>
        ))}
        {heaviest.length === 0 && "."}
      </p>
      <WeightRow tokens={read.tokens} query={query} now={now} weights={row} most={all[order[0] ?? 0] ?? 1}
        sees={(key) => sees(mask, now, key, tokens)} kept={(key) => kept.has(key)} />
      {groups && <Windows maps={maps} far={far} now={now} kept={(at) => kept.has(tokens + at)} most={all[order[0] ?? 0] ?? 1} />}
      <Proof maps={maps} sum={total(all)} far={groups ? total(far) : null} />
    </div>
  );
}

function weight(value: number) {
  return measured(value, "", "softmax(scale * q k)", "recomputed from the queries and keys of this layer");
}

function Windows({ maps, far, now, kept, most }: { maps: Maps; far: Float32Array; now: number; kept: (at: number) => boolean; most: number }) {
  const tokens = maps.read.tokens.length;
  const mask = maskOf(maps.branch);
  const seesIt = seesColumn(mask, now, tokens);
  return (
    <ul class="weights windows" aria-label="representatives of earlier windows">
      {columns(mask, tokens).map((one, at) => {
        const seen = seesIt(one);
        return (
          <li key={at} class={["weight", seen ? "" : "masked", seen && !kept(at) ? "faint" : ""].filter(Boolean).join(" ")}
            title={seen ? `${digits(Number((far[at] ?? 0).toPrecision(3)))}` : "not seen"}>
            <span class="bar" aria-hidden="true">{seen && <i style={{ height: `${Math.max((100 * (far[at] ?? 0)) / (most || 1), 2)}%` }} />}</span>
            <span class="word">{one.first}-{one.last}</span>
          </li>
        );
      })}
    </ul>
  );
}

/** How far the map can be trusted, and what a row adds up to. */
function Proof({ maps, sum, far }: { maps: Maps; sum: number; far: number | null }) {
  const { max_delta: delta, kernel, max_output: most } = maps.tile.note;
  const beside = [typeof kernel === "string" ? `kernel: ${kernel}` : "", typeof most === "number" ? `largest output ${digits(Number(most.toPrecision(3)))}` : ""];
  return (
    <p class="proof">
      The row adds up to <Chip label="sum of the row" num={measured(sum, "", "sum of the weights of the row", sum < 0.99 ? "the rest goes to a learned sink, which adds nothing" : undefined)} />
      {far !== null && <>, of which representatives carry <Chip label="share of representatives" num={measured(far, "", "sum of the weights of representatives")} /></>}.{" "}
      {typeof delta === "number" && (
        <>
          Recomputed; the largest difference from what the kernel returned is{" "}
          <Chip label="largest difference" num={measured(delta, "", "max |weights * values - output of the kernel|", ["over all tokens of this head", ...beside].filter(Boolean).join("; "), "girih/explore/inside")} />.
        </>
      )}
    </p>
  );
}
