/** The steps that stand in the plot: what each computes and reads. */

import type { Num, Priced } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { boundBy, type Decode, intensity, leastTime, type Limits, type Work } from "../../numbers/cost.ts";

export interface Step {
  id: "prefill" | "decode";
  name: string;
  work: Work;
  /** Tokens that the step makes or reads. */
  tokens: number;
}

/** Reading a prompt, and one more token for each sequence. */
export function steps(priced: Priced, context: number, batch: number): Step[] {
  const { cost } = priced;
  const written = cost["state_bytes"]!.value;
  return [
    {
      id: "prefill",
      name: `prefill of ${context.toLocaleString("en")} tokens`,
      work: { flops: cost["prefill_flops"]!.value, bytes: cost["weight_bytes"]!.value + written },
      tokens: context * batch,
    },
    {
      id: "decode",
      name: `decode at token ${context.toLocaleString("en")}`,
      work: { flops: cost["decode_flops"]!.value, bytes: cost["decode_bytes"]!.value },
      tokens: batch,
    },
  ];
}

/** Parts of a step of decoding: what is computed with weights, with what was remembered, and by scans. */
export interface Part {
  id: "weights" | "attention" | "scan";
  name: string;
  work: Work;
}

/** The parts of decoding that a model has. */
export function parts(priced: Priced): Part[] {
  const { cost } = priced;
  const flops = (name: string) => Number(cost["decode_flops"]!.inputs?.[name] ?? 0);
  const fixed = cost["state_fixed_bytes"]!.value;
  const all: Part[] = [
    { id: "weights", name: "products with weights", work: { flops: flops("linear"), bytes: cost["decode_weight_bytes"]!.value } },
    { id: "attention", name: "attention to what is kept", work: { flops: flops("attention"), bytes: cost["state_bytes"]!.value - fixed } },
    { id: "scan", name: "scans and convolutions", work: { flops: flops("scan"), bytes: fixed } },
  ];
  return all.filter(({ work }) => work.flops > 0 && work.bytes > 0);
}

/** One sequence of `batch` in a step of decoding. */
export function oneOf(priced: Priced, batch: number): Decode {
  const { cost } = priced;
  return {
    flops: cost["decode_flops"]!.value / batch,
    weights: cost["decode_weight_bytes"]!.value,
    state: cost["state_bytes"]!.value / batch,
  };
}

export interface Said {
  perByte: Num;
  bound: "memory" | "arithmetic";
  time: Num;
}

export function said({ work }: { work: Work }, limits: Limits): Said {
  const { flops, bytes } = work;
  return {
    perByte: computed(intensity(work), "", "flops / bytes", { flops, bytes }),
    bound: boundBy(work, limits),
    time: leastTime(work, limits),
  };
}
