/** What the two ways hold at their peak, and whether they agree. */

import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import type { Flash } from "./index.tsx";

export function Costs({ flash, tokens, block }: { flash: Flash; tokens: number; block: number }) {
  const { eager_bytes: eager, tiled_bytes: tiled, output_delta: delta } = flash;
  const most = Math.max(eager.value, tiled.value, 1);
  const ratio = computed(eager.value / Math.max(tiled.value, 1), "", "all_scores / one_tile", { all_scores: eager.value, one_tile: tiled.value });
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
        The eager way holds <Chip label="ratio of the peaks" num={ratio} /> times as much, and grows with the square of the text.
        The largest difference between the two outputs is <Chip label="difference of the outputs" num={delta} />.
      </p>
    </div>
  );
}

function Bar({ share }: { share: number }) {
  return <span class="cost-bar" aria-hidden="true" style={{ width: `${Math.max(100 * share, 0.4)}%` }} />;
}
