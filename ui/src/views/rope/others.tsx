/** Other ways to tell a model where a token stands, each in a small figure. */

import { useSignal } from "@preact/signals";
import { param } from "../../app/url.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Controls, Slider } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import { Heatmap } from "../../parts/heatmap.tsx";
import { sinusoid, slopes } from "./turns.ts";

const way = param("ro", "sinusoid");
const heads = param("rh", 8);
const [ROWS, COLS] = [32, 32];

const WAYS = [["sinusoid", "sinusoid"], ["learned", "learned"], ["alibi", "ALiBi"], ["none", "none"]] as const;

export function Others({ context }: { context: number }) {
  return (
    <Figure title="Other ways to tell a position">
      <Choice label="Way" value={way.value} options={WAYS} set={(one) => (way.value = one)} />
      <div class="other">
        {way.value === "sinusoid" && <Sinusoid />}
        {way.value === "learned" && (
          <p>
            A table with one row for each position, learned like an embedding and added to it (GPT-2, BERT). It says
            nothing about a position beyond its last row: here that would be position {context.toLocaleString("en")}.
          </p>
        )}
        {way.value === "alibi" && <Alibi />}
        {way.value === "none" && (
          <p>
            With a causal mask even a model that is told nothing can count: the first token sees one key, the next
            two. Scans such as Mamba read in order and need no positions at all.
          </p>
        )}
      </div>
    </Figure>
  );
}

function Sinusoid() {
  const row = useSignal(1);
  const col = useSignal(0);
  const values = Float32Array.from({ length: ROWS * COLS }, (_, at) => (sinusoid(Math.floor(at / COLS), COLS)[at % COLS]! + 1) / 2);
  return (
    <>
      <p>
        Every position has a code of sines and cosines of falling frequency, added to the embedding of the first
        layer (Vaswani et al., 2017).
      </p>
      <div class="small-map">
        <Heatmap label="codes of positions" rows={ROWS} cols={COLS} values={values} most={1} row={row} col={col}
          say={(at, feature, value) => `position ${at}, feature ${feature}: ${(2 * value - 1).toFixed(2)}`} />
      </div>
    </>
  );
}

function Alibi() {
  const all = slopes(heads.value);
  return (
    <>
      <p>No code at all: the score of a key falls by a fixed step with each token between, a step of its own for every head (Press et al., 2021; BLOOM).</p>
      <Controls><Slider label="Heads" value={heads} min={1} max={32} /></Controls>
      <svg class="alibi" viewBox="0 0 100 50" role="img" aria-label={`what ${heads.value} heads take off with distance`}>
        {all.map((slope, index) => <line key={index} x1="0" y1="2" x2="100" y2={2 + Math.min(slope * 48, 480)} />)}
      </svg>
      <p class="caption">
        The steepest head takes <Chip num={computed(all[0]!, "", "2 ** (-8 / whole)", { whole: 2 ** Math.floor(Math.log2(heads.value)) }, "girih/spec/positions.py Alibi.slopes")} label="slope" /> off with each token.
      </p>
    </>
  );
}
