/** A map of numbers on a canvas, one pixel a cell, with a cursor that keys move and a spoken line. */

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { PIXELS, step } from "./colours.ts";

export interface HeatmapProps {
  /** What it shows, in a few words. */
  label: string;
  rows: number;
  cols: number;
  /** [rows x cols]; what is drawn as a share of `most`. */
  values: ArrayLike<number>;
  most?: number;
  /** How much of the colours a share of `most` is given: the share itself, or its root, which shows small ones. */
  shade?: (share: number) => number;
  /** Cells that do not exist for the model: hatched, and no number. */
  hidden?: (row: number, col: number) => boolean;
  row: Signal<number>;
  col: Signal<number>;
  /** What is said of the cell under the cursor. */
  say: (row: number, col: number, value: number) => string;
  /** Names for the table. */
  rowName?: (row: number) => string;
  colName?: (col: number) => string;
  /** Height of a cell over its width. */
  tall?: number;
  id?: string;
  /** Drawn over the cells, and at their edges. */
  over?: ComponentChildren;
}

const LARGEST_TABLE = 64;

export function Heatmap(props: HeatmapProps) {
  const { rows, cols, values, hidden, tall = 1 } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const most = props.most ?? largest(values);
  useLayoutEffect(() => {
    if (canvas.current) paint(canvas.current, rows, cols, values, most, hidden, props.shade);
  }, [rows, cols, values, most, hidden, props.shade]);
  const row = clamp(props.row.value, rows);
  const col = clamp(props.col.value, cols);
  useEffect(() => {
    // By what the cursor is now, not when this was drawn: else a key in between would be undone.
    props.row.value = clamp(props.row.peek(), rows);
    props.col.value = clamp(props.col.peek(), cols);
  });
  const none = hidden?.(row, col) ?? false;
  const line = rows && cols ? props.say(row, col, none ? Number.NaN : values[row * cols + col]!) : "nothing to show";
  const move = (event: KeyboardEvent) => {
    const far = event.shiftKey ? 10 : 1;
    const [down, right] = STEPS[event.key] ?? [0, 0];
    if (!down && !right) return;
    event.preventDefault();
    // From where the cursor is by now: keys may come faster than pictures.
    props.row.value = clamp(props.row.peek() + (Math.abs(down) > 1 ? down * rows : down * far), rows);
    props.col.value = clamp(props.col.peek() + (Math.abs(right) > 1 ? right * cols : right * far), cols);
  };
  const point = (event: PointerEvent) => {
    if (event.type === "pointermove" && event.pointerType === "mouse" && event.buttons !== 1) return;
    const box = (event.currentTarget as HTMLElement).getBoundingClientRect();
    props.row.value = clamp(Math.floor(((event.clientY - box.top) / box.height) * rows), rows);
    props.col.value = clamp(Math.floor(((event.clientX - box.left) / box.width) * cols), cols);
  };
  return (
    <div class="heatmap">
      <div
        class="field"
        id={props.id}
        tabIndex={0}
        role="application"
        aria-roledescription="map"
        aria-label={`${props.label}, ${rows} by ${cols}; arrow keys move`}
        style={{ aspectRatio: `${cols} / ${rows * tall}` }}
        data-row={row}
        data-col={col}
        onKeyDown={move}
        onPointerDown={point}
        onPointerMove={point}
      >
        <canvas ref={canvas} width={cols} height={rows} aria-hidden="true" />
        {props.over}
        <span
          class="cursor"
          aria-hidden="true"
          style={{
            top: `${(100 * row) / rows}%`,
            left: `${(100 * col) / cols}%`,
            width: `${100 / cols}%`,
            height: `${100 / rows}%`,
          }}
        />
      </div>
      <p class="said" aria-live="polite">{line}</p>
      <AsTable {...props} at={row} />
    </div>
  );
}

const STEPS: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  PageUp: [-2, 0],
  PageDown: [2, 0],
  Home: [0, -2],
  End: [0, 2],
};

function clamp(value: number, size: number): number {
  return Math.max(0, Math.min(Math.round(value), size - 1));
}

export function largest(values: ArrayLike<number>): number {
  let out = 0;
  for (let i = 0; i < values.length; i++) if (values[i]! > out) out = values[i]!;
  return out;
}

/** Draw all cells, one pixel each; hidden ones stay clear, so that the hatching shows. */
export function paint(
  canvas: HTMLCanvasElement,
  rows: number,
  cols: number,
  values: ArrayLike<number>,
  most: number,
  hidden?: (row: number, col: number) => boolean,
  shade: (share: number) => number = Number,
): void {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context || !rows || !cols) return;
  const start = performance.now();
  const image = context.createImageData(cols, rows);
  // A pixel is written whole, as one number: four times fewer stores.
  const pixels = new Uint32Array(image.data.buffer);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++, at++) {
      if (hidden?.(row, col)) continue;
      pixels[at] = PIXELS[step(most > 0 ? shade(values[at]! / most) : 0)]!;
    }
  }
  context.putImageData(image, 0, 0);
  // For benchmarks, which read it; the browser keeps only the last few.
  performance.measure("girih.paint", { start, detail: { rows, cols } });
}

/** The same as numbers: all of a small map, the row under the cursor of a large one. */
function AsTable({ label, rows, cols, values, hidden, at, rowName, colName }: HeatmapProps & { at: number }) {
  const wide = Math.min(cols, LARGEST_TABLE);
  const whole = rows <= LARGEST_TABLE / 2 && cols <= LARGEST_TABLE / 2;
  const shown = whole ? Array.from({ length: rows }, (_, row) => row) : [at];
  return (
    <details class="as-table">
      <summary>as a table{whole ? "" : ", the row under the cursor"}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label={`${label} as a table`}>
        <table>
          <thead>
            <tr>
              <th />
              {Array.from({ length: wide }, (_, col) => <th key={col} scope="col">{colName?.(col) ?? col}</th>)}
            </tr>
          </thead>
          <tbody>
            {shown.map((row) => (
              <tr key={row}>
                <th scope="row">{rowName?.(row) ?? row}</th>
                {Array.from({ length: wide }, (_, col) => (
                  <td key={col}>{hidden?.(row, col) ? "" : Number(values[row * cols + col]!.toPrecision(3))}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {cols > wide && <p class="quiet">the first {wide} of {cols} columns</p>}
    </details>
  );
}
