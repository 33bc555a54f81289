/** What the model thought of in place of one token: its likeliest ones, as bars. */

import type { Signal } from "@preact/signals";
import type { RunState } from "../../data/run.ts";
import type { Num } from "../../data/types.ts";
import { Chip } from "../../parts/chip.tsx";
import { visible } from "../../parts/text.tsx";

function probability(value: number): Num {
  return { value: 100 * value, unit: "%", kind: "measured", source: "softmax of the logits of this step", note: "before temperature and cuts" };
}

export function Choices({ state, at }: { state: RunState; at: Signal<number> }) {
  const index = Math.min(at.value, state.made.length - 1);
  const one = state.made[index];
  if (!one) {
    return (
      <section class="choices" aria-label="next-token probabilities">
        <h3>Next-token probabilities</h3>
        <p class="quiet">The likeliest tokens stand here as soon as the model has written one.</p>
      </section>
    );
  }
  const listed = one.top.some((other) => other.id === one.id);
  const rows = listed ? one.top : [...one.top, { id: one.id, text: one.text, p: Math.exp(one.logprob) }];
  return (
    <section class="choices" aria-label="next-token probabilities">
      <h3>In place of token {index + 1}</h3>
      <ol>
        {rows.map((other) => (
          <li key={other.id} class={other.id === one.id ? "taken" : undefined}>
            <code>{visible(other.text)}</code>
            <span class="bar" aria-hidden="true"><i style={{ width: `${100 * other.p}%` }} /></span>
            <Chip num={probability(other.p)} label={`probability of ${visible(other.text)}`} />
          </li>
        ))}
      </ol>
    </section>
  );
}
