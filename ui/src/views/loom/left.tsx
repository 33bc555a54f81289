/** How much of each token is left at each later one: the attention that a scan implies. */

import { useMemo } from "preact/hooks";
import { param } from "../../app/url.ts";
import type { Tile, Token } from "../../data/types.ts";
import { Choice } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import { Heatmap } from "../../parts/heatmap.tsx";
import { visible } from "../../parts/text.tsx";
import { shares } from "./scan.ts";
import { token } from "./steps.tsx";

const of = param("li", 4);
const scaled = param("ls", "row");

function later(row: number, col: number): boolean {
  return col > row;
}

export function Left({ tokens, tile }: { tokens: readonly Token[]; tile: Tile }) {
  const [rows, cols] = tile.shape as [number, number];
  const rowwise = scaled.value === "row";
  const values = useMemo(() => (rowwise ? shares(tile.values, cols) : tile.values), [tile, rowwise]);
  const name = (index: number) => `token ${index} "${visible(tokens[index]?.text ?? "")}"`;
  const say = (row: number, col: number, value: number) => {
    if (col > row) return `${name(col)} comes after ${name(row)}`;
    return rowwise
      ? `${(100 * value).toFixed(1)} % of what ${name(row)} reads is of ${name(col)}`
      : `at ${name(row)} there is ${value.toPrecision(3)} left of ${name(col)}`;
  };
  return (
    <Figure
      title="How much of a token is left at a later one"
      caption="Row j, column i: what token j reads of what token i wrote, |C_j (keep_j ... keep_i+1) B_i delta_i|, the mean over channels; the colour is the root of it, so that small ones show. No such matrix is ever made when the model runs: the state carries it."
      hint={{
        look: "at how each row fades to the left: that is forgetting.",
        change: "the row with the arrow keys; it is the same token as above.",
        why: "attention looks back and chooses; a scan has to decide what to keep before it knows what will be asked.",
      }}
    >
      <Choice label="Colour" value={scaled.value} set={(one) => (scaled.value = one)}
        options={[["row", "share of each row"], ["raw", "as it is"]]} />
      <div class="left">
        <Heatmap id="left" label="what is left of a token" rows={rows} cols={cols} values={values} shade={Math.sqrt} hidden={later}
          row={token} col={of} say={say} rowName={(row) => visible(tokens[row]?.text ?? "")} colName={(col) => visible(tokens[col]?.text ?? "")} />
      </div>
    </Figure>
  );
}
