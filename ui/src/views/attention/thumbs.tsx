/** All heads of all layers as small maps; one of them is chosen. */

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { source } from "../../data/source.ts";
import type { Tile } from "../../data/types.ts";
import { useReading } from "../../parts/figure.tsx";
import { choose, type Chosen, type Placed, maskOf } from "../../parts/heads.tsx";
import { largest, paint } from "../../parts/heatmap.tsx";
import { unseenOf } from "./nucleus.ts";
import { inTurn } from "./queue.ts";

const STEPS: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

interface Props {
  list: readonly Placed[];
  at: Chosen;
  /** Whether the chosen map is there: it goes first. */
  ready: boolean;
}

export function Thumbs({ list, at, ready }: Props) {
  const grid = useRef<HTMLDivElement>(null);
  const place = list.findIndex((one) => one.layer === at.layer);
  const most = Math.max(...list.map((one) => one.branch.heads ?? 1));
  const move = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (!step) return;
    event.preventDefault();
    const to = list[Math.max(0, Math.min(place + step[0], list.length - 1))]!;
    const heads = to.branch.heads ?? 1;
    choose(to.layer, Math.max(0, Math.min(at.head + step[1], heads - 1)));
    document.getElementById(`thumb-${to.layer}-0`)?.scrollIntoView({ block: "nearest" });
  };
  return (
    <div ref={grid} class="thumbs" role="grid" tabIndex={0} onKeyDown={move}
      aria-label={`${list.length} layers with attention, up to ${most} heads each; arrow keys choose`}
      aria-activedescendant={`thumb-${at.layer}-${at.head}`} style={{ "--heads": most }}>
      {list.map((one) => <Row key={one.branch.path} placed={one} at={at} root={grid} ready={ready} />)}
    </div>
  );
}

interface RowProps {
  placed: Placed;
  at: Chosen;
  root: { current: HTMLElement | null };
  ready: boolean;
}

/** The heads of one layer; asked for when the row comes into sight. */
function Row({ placed, at, root, ready }: RowProps) {
  const row = useRef<HTMLDivElement>(null);
  const seen = useSignal(false);
  useEffect(() => {
    const watch = new IntersectionObserver(
      (found) => {
        if (found.some((one) => one.isIntersecting)) seen.value = true;
      },
      { root: root.current, rootMargin: "60px" },
    );
    watch.observe(row.current!);
    return () => watch.disconnect();
  }, []);
  return (
    <div ref={row} class="thumb-row" role="row">
      <span class="thumb-layer" role="rowheader">{placed.layer}</span>
      {seen.value && ready ? <Drawn placed={placed} at={at} /> : <Cells placed={placed} at={at} tile={null} tokens={0} />}
    </div>
  );
}

function Drawn({ placed, at }: { placed: Placed; at: Chosen }) {
  const path = placed.branch.path;
  const { value, error } = useReading(
    async (one) => ({
      tokens: one.tokens.length,
      path,
      tile: await inTurn(() => source.tile({ run: one.run, kind: "thumbs", layer: path })),
    }),
    [path],
  );
  if (error) return <span class="quiet" role="gridcell">no maps</span>;
  return <Cells placed={placed} at={at} tile={value?.tile ?? null} tokens={value?.tokens ?? 0} />;
}

interface CellsProps {
  placed: Placed;
  at: Chosen;
  tile: Tile | null;
  tokens: number;
}

function Cells({ placed, at, tile, tokens }: CellsProps) {
  const heads = placed.branch.heads ?? 1;
  return (
    <>
      {Array.from({ length: heads }, (_, head) => {
        const on = placed.layer === at.layer && head === at.head;
        return (
          <span key={head} id={`thumb-${placed.layer}-${head}`} role="gridcell" aria-selected={on}
            aria-label={`layer ${placed.layer} head ${head}`} class={on ? "thumb on" : "thumb"}
            title={`layer ${placed.layer}, head ${head}`} onClick={() => choose(placed.layer, head)}>
            {tile && <Thumb tile={tile} head={head} placed={placed} tokens={tokens} />}
          </span>
        );
      })}
    </>
  );
}

function Thumb({ tile, head, placed, tokens }: { tile: Tile; head: number; placed: Placed; tokens: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [, rows, cols] = tile.shape as [number, number, number];
  useLayoutEffect(() => {
    const values = tile.values.subarray(head * rows * cols, (head + 1) * rows * cols);
    paint(canvas.current!, rows, cols, values, largest(values), unseenOf(maskOf(placed.branch), tokens, rows), Math.sqrt);
  }, [tile, head]);
  return <canvas ref={canvas} width={cols} height={rows} aria-hidden="true" />;
}
