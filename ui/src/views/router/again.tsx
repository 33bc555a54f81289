/** The same text once more with another number of experts, or without some of them. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { info } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { BranchInfo, Likely, Num } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, useReading, Waiting } from "../../parts/figure.tsx";
import { visible } from "../../parts/text.tsx";
import { listed } from "./loads.ts";

/** Experts a token goes to; 0: as many as the model was made with. */
const top = param("xk", 0);
const where = param("xa", "layer");
export const muted = param("xm", "");

interface Rerouted {
  loss: Num;
  base: Num;
  active: Num;
  next: Likely[];
  base_next: Likely[];
}

const PAUSE = 150;

/** The last value that stood for a moment, so that a slider asks once. */
function useSettled(value: string): string {
  const held = useSignal(value);
  useEffect(() => {
    const timer = setTimeout(() => (held.value = value), PAUSE);
    return () => clearTimeout(timer);
  }, [value]);
  return held.value;
}

export function Again({ branch }: { branch: BranchInfo }) {
  const { count, top: own } = branch.experts!;
  const silent = listed(muted.value, count);
  const left = count - silent.length;
  const most = Math.max(1, left);
  const now = Math.max(1, Math.min(top.value || own, most));
  const slide = {
    get value() {
      return now;
    },
    set value(next: number) {
      top.value = next === own ? 0 : next;
    },
  };
  return (
    <Figure
      title="The same text with other experts"
      caption="The loss is the mean over this text of minus the log of the probability that the model gave to the token that came. The routing before and after is of this model alone: nothing was trained in between."
      hint={{
        look: "at the loss of this text, and at the list of next tokens.",
        change: "the number of experts a token goes to, or mute an expert in the list above.",
        why: "what a muted expert changes is what it was there for; a number alone does not say that.",
      }}
    >
      <Controls>
        <Slider label="Experts a token goes to" value={slide} min={1} max={most}
          text={(one) => (one === own ? `${one}, as made` : String(one))} />
        <Choice label="In" value={where.value} set={(one) => (where.value = one)}
          options={[["layer", "this layer"], ["all", "all layers"]]} />
      </Controls>
      <p class="silent">{silent.length ? `Muted: ${silent.map((one) => `expert ${one}`).join(", ")}.` : "No expert is muted."}</p>
      {left ? <Asked path={where.value === "all" ? null : branch.path} top={now} mute={silent} />
        : <p class="note">All experts are muted, so there is none to choose. Let one speak.</p>}
    </Figure>
  );
}

function Asked({ path, top, mute }: { path: string | null; top: number; mute: number[] }) {
  const asked = useSettled(JSON.stringify({ layer: path, top, mute }));
  const { value, error, busy } = useReading<Rerouted>(
    (one) => source.json("POST", "api/reroute", { run: one.run, ...JSON.parse(asked) }), [asked],
  );
  if (error) return <Failed error={error} />;
  if (!value) return <Waiting text={`Asking ${info.value?.label ?? "the model"} once more.`} />;
  return <Outcome value={value} busy={busy} />;
}

function Outcome({ value, busy }: { value: Rerouted; busy: boolean }) {
  const change = value.loss.value - value.base.value;
  const num: Num = { ...computed(change, "", "loss - loss_as_made", { loss: value.loss.value, loss_as_made: value.base.value }), kind: "measured" };
  return (
    <div aria-busy={busy} class="outcome">
      <p>
        Loss of this text <Chip num={value.loss} label="loss" text={value.loss.value.toFixed(3)} />, as made{" "}
        <Chip num={value.base} label="loss as made" text={value.base.value.toFixed(3)} />: a change of{" "}
        <Chip num={num} label="change of the loss" text={`${change < 0 ? "-" : "+"}${Math.abs(change).toFixed(3)}`} />.
        Parameters a token uses: <Chip num={value.active} label="active parameters" />.
      </p>
      <div class="nexts">
        <Nexts title="Next token, as made" list={value.base_next} before={value.base_next} />
        <Nexts title="Next token now" list={value.next} before={value.base_next} />
      </div>
    </div>
  );
}

function Nexts({ title, list, before }: { title: string; list: readonly Likely[]; before: readonly Likely[] }) {
  return (
    <section aria-label={title}>
      <h3>{title}</h3>
      <ol class="next">
        {list.map((one) => {
          const known = before.some((other) => other.id === one.id);
          const num: Num = { value: 100 * one.p, unit: "%", kind: "measured", note: "the model's probability at temperature 1" };
          return (
            <li key={one.id}>
              <span class="bar" aria-hidden="true" style={{ width: `${100 * one.p}%` }} />
              <code>{visible(one.text)}</code>
              {!known && <span class="new">new</span>}
              <Chip num={num} label={`probability of ${visible(one.text)}`} />
            </li>
          );
        })}
      </ol>
    </section>
  );
}
