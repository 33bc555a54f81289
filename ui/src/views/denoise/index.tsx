/** The place of the denoise scrubber: what it will show, and for now the noising that needs no model. */

import { useMemo } from "preact/hooks";
import { level } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { computed } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Controls, Slider } from "../../parts/controls.tsx";
import { Figure } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { alphaBars, noise, noised, spirals } from "./schedule.ts";
import "./denoise.css";

const STEPS = 50;
const POINTS = 400;
const SEEDS = 99;
const [SIZE, REACH] = [100, 3];

const step = param("dt", 12);
const seed = param("ds", 1);
const schedule = param("dk", "cosine");

const SAID = {
  beginner:
    "A diffusion model learns to undo noise. To teach it, a picture is drowned in noise little by little; then it practises taking one step back. To make a new picture it begins with noise alone.",
  intermediate:
    "Noising needs no model: after t steps a share of the picture is left and the rest is normal noise. The model is asked for the noise, and the sampler takes a part of it away at each step.",
  advanced:
    "x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e with a_t the product of 1 - beta (Ho et al., arXiv 2006.11239, equation 4), for the linear schedule of that paper and the cosine one of Nichol and Dhariwal (arXiv 2102.09672).",
};

function Denoise() {
  return (
    <>
      <p class="note">
        girih does not run diffusion models yet, so this page shows no model. When it does, the timeline of a
        run will stand here: the noisy picture, the picture predicted from it and the predicted noise at each
        step, to scrub and to compare with another seed, sampler or guidance, with the cost of each step.
      </p>
      <p>{SAID[level.value]}</p>
      <Forward />
    </>
  );
}

function Forward() {
  const at = Math.max(0, Math.min(Math.round(step.value) || 0, STEPS));
  const kind = schedule.value === "linear" ? "linear" : "cosine";
  const bars = useMemo(() => alphaBars(kind, STEPS), [kind]);
  const start = useMemo(() => spirals(POINTS), []);
  const eps = useMemo(() => noise(POINTS, seed.value), [seed.value]);
  const bar = bars[at]!;
  const points = noised(start, eps, bar);
  const source = kind === "cosine" ? "arXiv 2102.09672, equation 17" : "arXiv 2006.11239, section 4";
  const kept = computed(Math.sqrt(bar), "", "sqrt(alpha_bar)", { alpha_bar: bar }, source);
  const added = computed(Math.sqrt(1 - bar), "", "sqrt(1 - alpha_bar)", { alpha_bar: bar }, source);
  return (
    <Figure
      title="What is undone: points drowned in noise"
      caption="A schedule, not a model: the page works this out itself. Each point keeps its colour, so its way can be followed."
      hint={{
        look: "at when the two spirals can no longer be told apart.",
        change: "the step, then the schedule.",
        why: "a model has something to learn only at the steps between: at the ends all is picture, or all is noise.",
      }}
    >
      <div class="noising">
        <svg class="points" viewBox={`0 0 ${SIZE} ${SIZE}`} role="img" aria-label={`two spirals of points after step ${at} of ${STEPS}`}>
          {points.map(([x, y], i) => (
            <circle key={i} class={i % 2 ? "b" : "a"} r={0.75} cx={place(x)} cy={place(y)} />
          ))}
        </svg>
        <div>
          <Controls>
            <Slider label="Step" value={step} min={0} max={STEPS} text={(one) => `${one} of ${STEPS}`} />
            <Slider label="Seed of the noise" value={seed} min={1} max={SEEDS} />
          </Controls>
          <Choice label="Schedule" value={kind} set={(one) => (schedule.value = one)} options={[["cosine", "cosine"], ["linear", "linear"]]} />
          <p class="sum">
            x<sub>t</sub> = <Chip num={kept} label="share of the picture" text={kept.value.toFixed(3)} /> picture +{" "}
            <Chip num={added} label="share of the noise" text={added.value.toFixed(3)} /> noise
          </p>
          <Curve bars={bars} at={at} />
        </div>
      </div>
    </Figure>
  );
}

function place(value: number): number {
  return (SIZE * (value + REACH)) / (2 * REACH);
}

/** What is left of the picture at each step. */
function Curve({ bars, at }: { bars: readonly number[]; at: number }) {
  const path = bars.map((bar, t) => `${(100 * t) / STEPS} ${40 * (1 - Math.sqrt(bar))}`).join("L");
  return (
    <svg class="schedule" viewBox="-1 -2 102 44" role="img" aria-label="the share of the picture at each step, from one to nothing">
      <path class="under" d={`M${path}L100 40L0 40z`} />
      <path class="over" d={`M${path}`} />
      <circle cx={(100 * at) / STEPS} cy={40 * (1 - Math.sqrt(bars[at]!))} r={1.6} />
    </svg>
  );
}

export const view: View = {
  id: "denoise",
  title: "Denoise scrubber",
  question: "How does a picture come out of noise?",
  group: "Look inside",
  Component: Denoise,
};
