/** The grid of a mask: a row for each token that looks, a column for each key. */

import { useMemo } from "preact/hooks";
import type { MaskInfo } from "../../data/types.ts";
import { columns, groupRuns, outline, sentence, tokenRuns } from "./cells.ts";
import { looking } from "./settings.ts";

const LINES = 64;
const DOTS = 32;
/** Between the tokens and the representatives. */
const GAP = 0.06;

interface GridProps {
  mask: MaskInfo;
  tokens: number;
  /** The token that looks, from 0. */
  at: number;
}

/** Cells as shapes; the row that looks stands out. */
export function Cells({ mask, tokens, at }: GridProps) {
  const drawn = useMemo(() => {
    const own = tokenRuns(mask, tokens);
    const others = groupRuns(mask, tokens);
    return { own, others, seen: outline(own), groups: outline(others) };
  }, [JSON.stringify(mask), tokens]);
  const wide = columns(mask, tokens).length;
  const from = beside(tokens);
  return (
    <>
      <rect class="ground" width={tokens} height={tokens} />
      <path class="seen" d={drawn.seen} />
      <path class="now" d={outline(drawn.own.filter((run) => run.row === at))} />
      {wide > 0 && (
        <g transform={`translate(${from} 0)`}>
          <rect class="ground" width={wide} height={tokens} />
          <path class="groups" d={drawn.groups} />
          <path class="groups-now" d={outline(drawn.others.filter((run) => run.row === at))} />
        </g>
      )}
      {tokens <= LINES && <path class="rules" d={rules(tokens, tokens, 0) + rules(tokens, wide, from)} />}
      {tokens <= DOTS && Array.from({ length: tokens }, (_, i) => (
        <circle key={i} class={i === at ? "self on" : "self"} cx={i + 0.5} cy={i + 0.5} r={0.11} />
      ))}
    </>
  );
}

/** Where the representatives begin. */
function beside(tokens: number): number {
  return tokens + Math.max(GAP * tokens, 0.6);
}

function rules(rows: number, cols: number, from: number): string {
  if (!cols) return "";
  let out = "";
  for (let row = 1; row < rows; row++) out += `M${from} ${row}h${cols}`;
  for (let col = 1; col < cols; col++) out += `M${from + col} 0v${rows}`;
  return out;
}

/** Every so many-th token has its number written. */
function stride(tokens: number): number {
  return tokens <= 24 ? 1 : tokens <= 48 ? 4 : 2 ** Math.ceil(Math.log2(tokens / 12));
}

function labelled(index: number, tokens: number): boolean {
  const every = stride(tokens);
  return index === 0 || (index + 1) % every === 0;
}

/** The grid with numbers at its edges; a slider over the tokens that look. */
export function Grid({ mask, tokens, at }: GridProps) {
  const unit = Math.max(tokens, 8) / 16;
  const edge = 1.5 * unit;
  const wide = columns(mask, tokens);
  const across = wide.length ? beside(tokens) + wide.length : tokens;
  const set = (to: number) => (looking.value = Math.max(1, Math.min(to, tokens)));
  const press = (event: KeyboardEvent) => {
    const by = (STEPS[event.key] ?? 0) * (event.shiftKey ? 10 : 1);
    const to = event.key === "Home" ? 1 : event.key === "End" ? tokens : looking.value + by;
    if (!by && event.key !== "Home" && event.key !== "End") return;
    event.preventDefault();
    set(to);
  };
  const point = (event: PointerEvent) => {
    if (event.type === "pointermove" && event.buttons !== 1) return;
    const box = (event.currentTarget as SVGElement).getBoundingClientRect();
    set(Math.floor(((event.clientY - box.top) / box.height) * (tokens + edge + 0.2 * unit) - edge) + 1);
  };
  return (
    <svg
      class="mask-grid"
      viewBox={`${-edge} ${-edge} ${across + edge + 0.2 * unit} ${tokens + edge + 0.2 * unit}`}
      style={{ aspectRatio: `${across + edge} / ${tokens + edge}` }}
      font-size={0.52 * unit}
      tabindex={0}
      role="slider"
      aria-label="the token that looks"
      aria-orientation="vertical"
      aria-valuemin={1}
      aria-valuemax={tokens}
      aria-valuenow={at + 1}
      aria-valuetext={sentence(mask, at, tokens)}
      onKeyDown={press}
      onPointerDown={point}
      onPointerMove={point}
    >
      <Cells mask={mask} tokens={tokens} at={at} />
      <rect class="looking" y={at} width={across} height={1} stroke-width={0.09 * unit} />
      <g class="numbers" aria-hidden="true">
        {Array.from({ length: tokens }, (_, i) => labelled(i, tokens) && (
          <text key={i} x={i + 0.5} y={-0.35 * unit} text-anchor="middle">{i + 1}</text>
        ))}
        {Array.from({ length: tokens }, (_, i) => (labelled(i, tokens) || i === at) && (
          <text key={i} class={i === at ? "on" : undefined} x={-0.35 * unit} y={i + 0.5} dy="0.35em" text-anchor="end">{i + 1}</text>
        ))}
        {wide.length > 0 && (
          <text class="of" x={across} y={-0.35 * unit} text-anchor="end">{wide.length > 8 * unit ? "representatives" : "repr."}</text>
        )}
      </g>
    </svg>
  );
}

const STEPS: Record<string, number> = {
  ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -10, PageDown: 10,
};

/** A small one without numbers. */
export function Thumb({ mask, tokens, at }: GridProps) {
  return (
    <svg class="mask-thumb" viewBox={`0 0 ${tokens} ${tokens}`} aria-hidden="true">
      <Cells mask={mask} tokens={tokens} at={at} />
    </svg>
  );
}
