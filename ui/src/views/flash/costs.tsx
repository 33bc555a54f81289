/** What the two ways hold at their peak, and whether they agree. */

import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import type { Flash } from "./index.tsx";

/** A text as long as people use today. */
const LONG = 32_768;

export function Costs({ flash, tokens, block }: { flash: Flash; tokens: number; block: number }) {
  const { eager_bytes: eager, tiled_bytes: tiled, output_delta: delta } = flash;
  const most = Math.max(eager.value, tiled.value, 1);
  const ratio = computed(eager.value / Math.max(tiled.value, 1), "", "all_scores / one_tile", { all_scores: eager.value, one_tile: tiled.value });
  const scores = computed(LONG ** 2 * 4, "B", "tokens * tokens * bytes", { tokens: LONG, bytes: 4 }, "float32 scores, all pairs");
  return (
    <div class="flash-costs">
      <table>
        <caption class="unseen">memory at the peak</caption>
        <tbody>
          <tr>
            <th scope="row">all scores at once, {tokens} x {tokens}</th>
            <td><Chip label="peak of the eager way" num={eager} /></td>
            <td class="wide"><Bar share={eager.value / most} /></td>
          </tr>
          <tr>
            <th scope="row">one tile of {block} keys</th>
            <td><Chip label="peak of the tiled way" num={tiled} /></td>
            <td class="wide"><Bar share={tiled.value / most} /></td>
          </tr>
        </tbody>
      </table>
      <p>
        {ratio.value >= 1 ? "The eager way holds " : "On so short a text the eager way holds only "}
        <Chip label="ratio of the peaks" num={ratio} /> times as much, but its scores grow with the square of the text: at{" "}
        {LONG.toLocaleString("en")} tokens those of one head alone are <Chip label="scores of a long text" num={scores} />.
        The largest difference between the two outputs is <Chip label="difference of the outputs" num={delta} />.
      </p>
    </div>
  );
}

function Bar({ share }: { share: number }) {
  return <span class="cost-bar" aria-hidden="true" style={{ width: `${Math.max(100 * share, 0.4)}%` }} />;
}
