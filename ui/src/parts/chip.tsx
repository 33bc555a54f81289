/** A number that opens to its formula, its values and its source. No chip, no number. */

import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import { units } from "../app/session.ts";
import type { Num } from "../data/types.ts";
import { filled, shown } from "../numbers/format.ts";

const MARKS = {
  measured: ["●", "measured"],
  computed: ["ƒ", "computed from the spec"],
  published: ["◇", "published"],
} as const;

interface Props {
  num: Num;
  /** What it is a number of, for who cannot see where it stands. */
  label?: string;
  /** Another number of the same thing, such as a measured one. */
  also?: Num | null;
  /** What to print instead of the usual form. */
  text?: string;
}

export function Chip({ num, label, also, text }: Props) {
  const open = useSignal(false);
  const id = useId();
  const root = useRef<HTMLSpanElement>(null);
  const [mark, kind] = MARKS[num.kind];
  useEffect(() => {
    if (!open.value) return;
    const away = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !root.current?.contains(event.target as Node)) {
        open.value = false;
      }
    };
    addEventListener("pointerdown", away);
    addEventListener("keydown", away);
    return () => {
      removeEventListener("pointerdown", away);
      removeEventListener("keydown", away);
    };
  }, [open.value]);
  const said = text ?? shown(num, units.value);
  return (
    <span class="chip" ref={root}>
      <button
        type="button"
        aria-expanded={open.value}
        aria-controls={id}
        aria-label={`${label ? `${label}: ` : ""}${said}, ${kind}`}
        data-value={num.value}
        data-kind={num.kind}
        onClick={() => (open.value = !open.value)}
      >
        <span class={`mark ${num.kind}`} data-mark={mark} aria-hidden="true" />
        {said}
      </button>
      <span id={id} class="opened" role="group" hidden={!open.value}>
        {open.value && <Opened num={num} also={also ?? null} kind={kind} />}
      </span>
    </span>
  );
}

function Opened({ num, also, kind }: { num: Num; also: Num | null; kind: string }) {
  const values = filled(num);
  const exact = `${num.value.toLocaleString("en", { maximumFractionDigits: 6 })} ${num.unit === "params" ? "parameters" : num.unit}`;
  return (
    <>
      <span class="line strong">{exact}, {kind}</span>
      {num.expr && <code class="line">{num.expr}</code>}
      {values && <code class="line">= {values}</code>}
      {num.source && <span class="line quiet">from {num.source}</span>}
      {num.note && <span class="line">{num.note}</span>}
      {also && (
        <span class="line">
          {MARKS[also.kind][0]} {shown(also, units.value)} {MARKS[also.kind][1]}
          {also.note ? `: ${also.note}` : ""}
        </span>
      )}
    </>
  );
}
