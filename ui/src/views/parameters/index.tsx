/** Where the parameters are: every tensor a tile, drawn to scale. */

import { useMemo } from "preact/hooks";
import { level, spec, specError, units } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import type { Num, SpecInfo } from "../../data/types.ts";
import { bytes, computed, count, digits } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Controls } from "../../parts/controls.tsx";
import { Failed, Figure, Waiting } from "../../parts/figure.tsx";
import type { View } from "../view.ts";
import { type Box, squarified } from "./layout.ts";
import { type Group, grouped, type Tile } from "./tiles.ts";
import "./parameters.css";

const by = param("pb", "params");
const parts = param("pg", "role");
const chosen = param("pt", 0);
const WHOLE: Box = { x: 0, y: 0, width: 720, height: 420 };
const EDGE = 20;

interface Place {
  tile: Tile;
  group: Group;
  box: Box;
}

const SAID = {
  beginner: "All that a model has learned is numbers in tables. Each tile is one table, as large as the numbers in it.",
  intermediate: "A tile is a tensor. Feed-forward layers hold most of a dense model, tables of tokens much of a small one.",
  advanced: "Distinct tensors as the spec states them: a tied head is counted once, experts are stacked in one tensor a product.",
};

function Parameters() {
  if (specError.value) return <Failed error={specError.value} />;
  if (!spec.value) return <Waiting text="Reading the spec." />;
  return <Shown found={spec.value} />;
}

function Shown({ found }: { found: SpecInfo }) {
  const measure = by.value === "bytes" ? "bytes" : "params";
  const how = parts.value === "layer" ? "layer" : "role";
  const groups = useMemo(() => grouped(found, measure, how), [found, measure, how]);
  const drawn = useMemo(() => placed(groups, measure), [groups, measure]);
  return (
    <Figure title="Every tensor, to scale" hint={{
      look: "at the largest field: that is where the model keeps most of what it has learned.",
      change: "from parameters to bytes: tensors that are stored in fewer bits shrink.",
      why: "whether tables, attention or feed-forward layers fill the memory says what could be made smaller.",
    }}>
      <p>{SAID[level.value]}</p><Controls>
        <Choice label="In groups of" value={how} set={(one) => (parts.value = one)}
          options={[["role", "one role"], ["layer", "one layer"]]} />
        <Choice label="Sized by" value={measure} set={(one) => (by.value = one)}
          options={[["params", "parameters"], ["bytes", "bytes as stored"]]} />
      </Controls>
      <Counted found={found} />
      <Map groups={groups} drawn={drawn} measure={measure} />
      <Table groups={groups} found={found} />
    </Figure>
  );
}

/** What the spec makes, beside what the files hold; and the part of it that one token needs. */
function Counted({ found: { cost, tensors } }: { found: SpecInfo }) {
  const [all, active] = [cost["parameters"]!, cost["active_parameters"]!];
  const share = computed((100 * active.value) / all.value, "%", "100 * active / all", { active: active.value, all: all.value });
  return (
    <>
      <dl class="counted">
        <Pair name="parameters" made={all} held={cost["stored_parameters"]} />
        <Pair name="bytes of weights" made={cost["weight_bytes"]!} held={cost["stored_bytes"]} />
        <div>
          <dt>take part in one token</dt>
          <dd><Chip num={active} label="active parameters" /> <Chip num={share} label="active share" /></dd>
        </div>
      </dl>
      <p class="quiet">
        {tensors.length.toLocaleString("en")} tensors; ƒ is counted from the spec
        {cost["stored_parameters"] ? ", ● is summed over the tensors in the model's files." : ". There are no files to count in."}
      </p>
    </>
  );
}

function Pair({ name, made, held }: { name: string; made: Num; held: Num | undefined }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <Chip num={made} also={held} label={name} />{" "}
        {held && <Chip num={held} also={made} label={`${name} in the files`} />}
        {held && held.value !== made.value && <span class="quiet"> not the same</span>}
      </dd>
    </div>
  );
}

/** Each group has a box, and a line for its name where there is room; its tiles fill the rest. */
function placed(groups: readonly Group[], measure: "params" | "bytes"): { boxes: Box[]; places: Place[] } {
  const boxes = squarified(groups.map((one) => one[measure]), WHOLE);
  const places = groups.flatMap((group, index) => {
    const box = boxes[index]!;
    const roomy = titled(box);
    const edge = Math.min(1, box.width / 4, box.height / 4);
    const top = roomy ? EDGE : edge;
    const inner = { x: box.x + edge, y: box.y + top, width: box.width - 2 * edge, height: box.height - top - edge };
    const inside = squarified(group.tiles.map((one) => one[measure]), inner);
    return group.tiles.map((tile, at) => ({ tile, group, box: inside[at]! }));
  });
  return { boxes, places };
}

function titled(box: Box): boolean {
  return box.width > 70 && box.height > 3 * EDGE;
}

function Map({ groups, drawn, measure }: { groups: Group[]; drawn: ReturnType<typeof placed>; measure: "params" | "bytes" }) {
  const { boxes, places } = drawn;
  const at = Math.max(0, Math.min(chosen.value, places.length - 1));
  const now = places[at];
  const move = (event: KeyboardEvent) => {
    const to = target(event, at, places);
    if (to === null) return;
    event.preventDefault();
    chosen.value = Math.max(0, Math.min(to, places.length - 1));
  };
  return (
    <div class="treemap">
      <div tabIndex={0} role="application" aria-roledescription="map of tensors" onKeyDown={move}
        aria-label={`tensors by ${measure === "params" ? "parameters" : "bytes"}; arrow keys move, page keys go by group`}>
        <svg viewBox={`0 0 ${WHOLE.width} ${WHOLE.height}`} aria-hidden="true">
          {places.map(({ tile, box }, index) => (
            <rect key={index} class={`tile ${tile.kind}`} {...box} onClick={() => (chosen.value = index)} />
          ))}
          {groups.map((group, index) => {
            const box = boxes[index]!;
            return titled(box) && (
              <text key={group.name} x={box.x + 7} y={box.y + 14}>{fitting(group, box, measure)}</text>
            );
          })}
          {now && <rect class="cursor" x={now.box.x} y={now.box.y} width={Math.max(now.box.width, 3)} height={Math.max(now.box.height, 3)} />}
        </svg>
      </div>
      <p class="said" aria-live="polite">{now && said(now.tile)}</p>
    </div>
  );
}

function target(event: KeyboardEvent, at: number, places: readonly Place[]): number | null {
  const far = event.shiftKey ? 10 : 1;
  switch (event.key) {
    case "ArrowRight": case "ArrowDown": return at + far;
    case "ArrowLeft": case "ArrowUp": return at - far;
    case "Home": return 0;
    case "End": return places.length - 1;
    case "PageDown": {
      const next = places.findIndex((one, index) => index > at && one.group !== places[at]?.group);
      return next < 0 ? at : next;
    }
    case "PageUp": {
      const first = places.findIndex((one) => one.group === places[at]?.group);
      return first < at ? first : places.findIndex((one) => one.group === places[first - 1]?.group);
    }
    default: return null;
  }
}

function fitting(group: Group, box: Box, measure: "params" | "bytes"): string {
  const most = Math.floor((box.width - 12) / 6.6);
  const size = measure === "bytes" ? bytes(group.bytes, units.value) : count(group.params);
  const whole = `${group.name}  ${size}`;
  if (whole.length <= most) return whole;
  return group.name.length <= most ? group.name : `${group.name.slice(0, most - 1)}…`;
}

function said(tile: Tile): string {
  const { tensor } = tile;
  const shape = tensor.shape.map((one) => one.toLocaleString("en")).join(" x ");
  const times = tile.count > 1 ? `${tile.count} times ` : "";
  return `${tile.name}: ${times}${shape}, ${tile.params.toLocaleString("en")} parameters, ${tensor.format}, ${bytes(tile.bytes, units.value)}`;
}

function Table({ groups, found }: { groups: Group[]; found: SpecInfo }) {
  const all = found.cost["parameters"]!.value;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="groups of tensors">
      <table>
        <thead>
          <tr><th scope="col">Part</th><th scope="col">Tensors</th><th scope="col">Parameters</th><th scope="col">Share</th><th scope="col">Bytes</th></tr>
        </thead>
        <tbody>
          {groups.map((one) => (
            <tr key={one.name}>
              <th scope="row"><i class={`swatch ${one.kind}`} aria-hidden="true" />{one.name}</th>
              <td class="num">{one.tiles.reduce((sum, tile) => sum + tile.count, 0)}</td>
              <td><Chip num={computed(one.params, "params", "sum of the tensors", {}, "girih/spec/base.py numel")} label={`parameters of ${one.name}`} /></td>
              <td class="num">{digits(Number(((100 * one.params) / all).toFixed(1)))} %</td>
              <td><Chip num={computed(one.bytes, "B", "sum of the tensors as stored", {}, "girih/spec/cost.py weight_bytes")} label={`bytes of ${one.name}`} /></td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export const view: View = {
  id: "parameters",
  title: "Parameters",
  question: "Where in the model are its parameters?",
  group: "Size",
  Component: Parameters,
};
