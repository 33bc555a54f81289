/** The steps that stand in the plot: what each computes and reads. */

import type { Num, Priced } from "../../data/types.ts";
import { computed } from "../../numbers/format.ts";
import { boundBy, type Decode, intensity, leastTime, type Limits, mostSpeed, type Work } from "../../numbers/cost.ts";

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
  speed: Num;
}

export function said(step: Step, limits: Limits): Said {
  const { flops, bytes } = step.work;
  return {
    perByte: computed(intensity(step.work), "", "flops / bytes", { flops, bytes }),
    bound: boundBy(step.work, limits),
    time: leastTime(step.work, limits),
    speed: mostSpeed(step.work, limits, step.tokens),
  };
}
