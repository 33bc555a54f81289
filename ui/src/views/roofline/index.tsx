/** The roofline: what bounds a step of the chosen model, on this machine and on others. */

import { useSignal } from "@preact/signals";
import { info, level, model, reason } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Num, Priced } from "../../data/types.ts";
import { batchLimit, intensity, type Limits, mostSpeed, tokenLimit, type Work } from "../../numbers/cost.ts";
import { Chip } from "../../parts/chip.tsx";
import { Controls, Select, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, useAsked, Waiting } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { DEVICES, type Device } from "./devices.ts";
import { Plot, type Roof, Sign } from "./plot.tsx";
import { oneOf, type Part, parts, said, type Step, steps } from "./steps.ts";
import "./roofline.css";

const CONTEXTS = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];
const BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const context = param("rc", 2048);
const batch = param("rb", 1);
const state = param("rf", "bfloat16");
const weights = param("rw", "");
const device = param("rd", "h100");

const WEIGHTS = [["", "as stored"], ["float32", "float32"], ["bfloat16", "bfloat16"], ["Q8_0", "8 bits, Q8_0"], ["Q4_0", "4 bits, Q4_0"]] as const;

interface Probe {
  bandwidth: Num;
  flops: Record<string, Num>;
}
interface Speed {
  decode: Num;
  /** What a step did then: speed is measured on a short text. */
  work: Work;
}
const SHORT = 64;

/** What was measured on this machine; stays while the page is open. */
const probe = { value: null as Probe | null, speed: new Map<string, Speed>() };

const SAID = {
  beginner: "A machine computes so much in a second, and reads so much from memory. A step must wait for the slower of the two.",
  intermediate: "Work that does few operations for each byte it reads is bound by memory: the slope. With many it is bound by arithmetic: the flat part.",
  advanced: "Bytes are weights touched once, and the state of each sequence; FLOPs of pairs that are seen. The least time is the larger of both quotients, as if all overlapped.",
};

function Roofline() {
  const [tokens, count, format] = [context.value, batch.value, state.value];
  const held = WEIGHTS.some(([one]) => one === weights.value) ? weights.value : "";
  const body = { model: model.value, context: tokens, batch: count, state: format, ...(held ? { weights: held } : {}) };
  const ask = info.value ? () => source.json<Priced>("POST", "api/price", body) : null;
  const { value, error } = useAsked(ask, [info.value?.id, tokens, count, format, held]);
  const again = useSignal(0);
  return (
    <Figure title="Where a step meets the roof" hint={{
      look: "at the sloping part of the line: there memory bounds a step, on the flat part arithmetic does.",
      change: "the number of sequences: decode slides to the right, since all of them share one reading of the weights.",
      why: "it tells whether faster arithmetic or smaller weights would help, before anything is tried.",
    }}>
      <p>{SAID[level.value]}</p><Controls>
        <Slider label="Tokens" value={context} min={0} max={0} among={CONTEXTS} />
        <Slider label="Sequences at once" value={batch} min={0} max={0} among={BATCHES} />
        <Select label="State in" value={format} set={(one) => (state.value = one)}
          options={["float32", "bfloat16", "int8", "int4"].map((one) => [one, one] as const)} />
        <Select label="Weights in" value={held} set={(one) => (weights.value = one)} options={WEIGHTS} />
        <Select label="Beside" value={device.value} set={(one) => (device.value = one)}
          options={DEVICES.map((one) => [one.id, one.name] as const)} />
      </Controls>
      {Boolean(error) && <Failed error={error} />}
      {!value && !error && <Waiting text="Counting." />}
      {value && <Drawn key={again.value} priced={value} />}
      <Measure done={() => (again.value += 1)} />
    </Figure>
  );
}

function limitsOf(one: Device): Limits {
  return { peak: one.flops.value, bandwidth: one.bandwidth.value };
}

/** This machine, where it has been measured: the better of its formats. */
function here(): Device | null {
  const held = probe.value;
  if (!held) return null;
  const [name, flops] = Object.entries(held.flops).sort((a, b) => b[1].value - a[1].value)[0]!;
  return { id: "here", name: `this machine, ${name}`, flops, bandwidth: held.bandwidth };
}

function Drawn({ priced }: { priced: Priced }) {
  const all = steps(priced, context.value, batch.value);
  const inside = parts(priced);
  const other = DEVICES.find((one) => one.id === device.value) ?? DEVICES[0]!;
  const devices = [here(), other].filter((one) => one !== null);
  const roofs: Roof[] = devices.map((one) => ({ name: one.name, limits: limitsOf(one), measured: one.id === "here" }));
  const near = devices[0]!;
  return (
    <>
      <Plot roofs={roofs} steps={all} parts={inside} ring={ring()} />
      <p class="machines">
        {devices.map((one, index) => (
          <span key={one.id} class={`whose r${index}`}>
            <i aria-hidden="true" />{one.name}: <Chip num={one.flops} label={`arithmetic of ${one.name}`} />{" "}
            <Chip num={one.bandwidth} label={`memory of ${one.name}`} />
          </span>
        ))}
      </p>
      <Table all={all} inside={inside} near={near} />
      <Limit priced={priced} near={near} />
    </>
  );
}

/** The measured speed of one sequence, as operations a second. */
function ring() {
  const held = probe.speed.get(model.value);
  return held ? { perByte: intensity(held.work), flops: held.decode.value * held.work.flops } : null;
}

async function speedHere(id: string): Promise<Speed> {
  const { decode } = await source.json<{ decode: Num }>("POST", "api/measure", { what: "speed", model: id });
  const body = { model: id, context: SHORT, batch: 1, state: "bfloat16" };
  const priced = await source.json<Priced>("POST", "api/price", body);
  return { decode, work: steps(priced, SHORT, 1)[1]!.work };
}

function Table({ all, inside, near }: { all: Step[]; inside: Part[]; near: Device }) {
  const measured = probe.speed.get(model.value)?.decode;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="steps">
      <table>
        <thead>
          <tr>
            <th scope="col">Step</th><th scope="col">Operations a byte</th><th scope="col">Bound by</th>
            <th scope="col">Time at least</th><th scope="col">Tokens a second at most</th>
            {measured && <th scope="col">Measured, one short text</th>}
          </tr>
        </thead>
        <tbody>
          {[...all, ...inside].map((step) => {
            const limits = limitsOf(near);
            const one = said(step, limits);
            const whole = "tokens" in step;
            return (
              <tr key={step.id} class={whole ? undefined : "inside"}>
                <th scope="row">{!whole && <Sign id={step.id} />}{step.name}</th>
                <td><Chip num={one.perByte} label={`operations a byte of ${step.id}`} /></td>
                <td>{one.bound}</td>
                <td><Chip num={one.time} label={`least time of ${step.id}`} /></td>
                <td>{whole && <Chip num={mostSpeed(step.work, limits, step.tokens)} label={`most speed of ${step.id}`} />}</td>
                {measured && <td>{step.id === "decode" && <Chip num={measured} label="measured speed" />}</td>}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function Limit({ priced, near }: { priced: Priced; near: Device }) {
  const one = oneOf(priced, batch.value);
  const most = batchLimit(one, limitsOf(near));
  const { cost } = priced;
  const [per, fixed] = [cost["state_bytes_per_token"]!.value, cost["state_fixed_bytes"]!.value / batch.value];
  const tokens = tokenLimit(one.weights, per, fixed, batch.value);
  return (
    <p class="caption">
      On {near.name} memory bounds decode {most
        ? <>up to <Chip num={most} label="batch limit" /> sequences at once.</>
        : <>however many sequences there are: each reads so much state of its own.</>}{" "}
      {tokens
        ? <>From <Chip num={tokens} label="token limit" /> on a step reads more state than weights.</>
        : <>Its state does not grow with the text.</>}{" "}
      {probe.speed.has(model.value) && "The ring is the speed measured on one short text."}
    </p>
  );
}

function Measure({ done }: { done: () => void }) {
  const busy = useSignal<string | null>(null);
  const error = useSignal<string | null>(null);
  const ask = async (what: "machine" | "speed") => {
    busy.value = what;
    error.value = null;
    try {
      const id = model.value;
      if (what === "machine") probe.value = await source.json<Probe>("POST", "api/measure", { what });
      else probe.speed.set(id, await speedHere(id));
      done();
    } catch (failed) {
      error.value = reason(failed);
    } finally {
      busy.value = null;
    }
  };
  return (
    <div class="measures">
      <button type="button" disabled={busy.value !== null} onClick={() => void ask("machine")}>
        {busy.value === "machine" ? "Measuring" : "Measure this machine"}
      </button>
      <button type="button" disabled={busy.value !== null} onClick={() => void ask("speed")}>
        {busy.value === "speed" ? "Measuring" : "Measure the model's speed"}
      </button>
      {error.value && <Failed error={error.value} />}
    </div>
  );
}

export const view: View = {
  id: "roofline",
  title: "Roofline",
  question: "Is it memory or arithmetic that bounds a step?",
  group: "Size",
  Component: Roofline,
};
