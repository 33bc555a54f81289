/** The totals of two models, line by line, with how many times the second is the first. */

import type { Num } from "../data/types.ts";
import { computed, digits } from "../numbers/format.ts";
import { Chip } from "./chip.tsx";

const LINES: [name: string, text: string][] = [
  ["parameters", "parameters"],
  ["active_parameters", "of them active for a token"],
  ["weight_bytes", "weights"],
  ["state_bytes_per_token", "state a token adds"],
  ["state_bytes", "state at that length"],
  ["state_fixed_bytes", "of it the same at any length"],
  ["prefill_flops", "prefill"],
  ["decode_flops", "one decode step"],
  ["decode_weight_bytes", "weights a decode step reads"],
];

export function Ratio({ a, b, what }: { a: Num; b: Num; what: string }) {
  if (!a.value) return <span class="quiet">{b.value ? "new" : "none"}</span>;
  const num = computed(b.value / a.value, "", "b / a", { a: a.value, b: b.value });
  return <Chip num={num} label={`ratio of ${what}`} text={`${digits(num.value)} x`} />;
}

interface Props {
  a: Record<string, Num>;
  b: Record<string, Num>;
  names: [string, string];
}

export function Totals({ a, b, names }: Props) {
  const lines = LINES.filter(([name]) => a[name] && b[name] && (a[name].value || b[name].value));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="totals">
      <table class="totals">
        <thead>
          <tr><th scope="col">in all</th><th scope="col">{names[0]}</th><th scope="col">{names[1]}</th><th scope="col">ratio</th></tr>
        </thead>
        <tbody>
          {lines.map(([name, text]) => (
            <tr key={name} class={a[name]!.value === b[name]!.value ? "same" : "differs"}>
              <th scope="row">{text}</th>
              <td><Chip num={a[name]!} label={`${text} of ${names[0]}`} /></td>
              <td><Chip num={b[name]!} label={`${text} of ${names[1]}`} /></td>
              <td><Ratio a={a[name]!} b={b[name]!} what={text} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
