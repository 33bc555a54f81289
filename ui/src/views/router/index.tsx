/** The router board: which experts each token of a text goes to, how evenly, and what if not. */

import { level, spec } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { BranchInfo, Kind } from "../../data/types.ts";
import { chosen, LayerSelect, placed } from "../../parts/branch.tsx";
import { Chip } from "../../parts/chip.tsx";
import { Choice, Controls } from "../../parts/controls.tsx";
import { Failed, Figure, NoModel, useReading, Waiting } from "../../parts/figure.tsx";
import { TextField } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import { Again, muted } from "./again.tsx";
import { listed, loads, share, variation } from "./loads.ts";
import { RouteMap } from "./map.tsx";
import "./router.css";

const shown = param("xs", "weights");
const KINDS: readonly Kind[] = ["experts"];

const SAID = {
  beginner:
    "In such a layer there are several small networks, the experts. A router reads each token and sends it to a few of them, so most of the layer rests. Experts have numbers: what one is good at, nobody has told it, and a name would be a guess.",
  intermediate:
    "The router scores every expert for each token and keeps the best few; what they give is summed by these weights. All experts take memory, only the chosen take time.",
  advanced:
    "Cells are gate weights after the router's own rule (softmax or sigmoid, bias of the choice, groups, renormalised, scaled), taken from this forward pass. There is no capacity, so nothing is dropped.",
};

function Router() {
  const all = placed(KINDS);
  const now = chosen(all);
  if (!spec.value) return <Waiting text="Reading the spec." />;
  if (!now) return <NoModel kinds={KINDS} />;
  return (
    <>
      <p>{SAID[level.value]}</p>
      <TextField />
      <Controls>
        <LayerSelect all={all} />
        <Choice label="Show" value={shown.value} set={(one) => (shown.value = one)}
          options={[["weights", "weights of the chosen"], ["scores", "scores of all"]]} />
      </Controls>
      <Board key={now.branch.path} branch={now.branch} index={now.index} />
      <Again branch={now.branch} />
    </>
  );
}

function Board({ branch, index }: { branch: BranchInfo; index: number }) {
  const { value, error } = useReading(async (one) => {
    const of = (kind: string) => source.tile({ run: one.run, kind, layer: branch.path });
    const [weights, scores] = await Promise.all([of("router"), of("router_scores")]);
    return { tokens: one.tokens, weights, scores };
  }, [branch.path]);
  if (error) return <Failed error={error} />;
  if (!value) return <Waiting text="Reading the text." />;
  const { count, top, shared } = branch.experts!;
  const scores = shown.value === "scores";
  return (
    <>
      <Figure
        title={`Layer ${index}: each token goes to ${top} of ${count} experts`}
        caption={scores
          ? "A row is a token, a column an expert. The brighter, the higher its score; outlined are the chosen."
          : "A row is a token, a column an expert. The brighter, the more the token takes from it; hatched ones were not chosen and did not run."}
        hint={{
          look: "along a column: which tokens does one expert get?",
          change: "the text, or the layer with [ and ].",
          why: "experts divide tokens by what helps the loss: often by spelling and place, seldom by topic.",
        }}
      >
        <RouteMap tokens={value.tokens} tile={scores ? value.scores : value.weights} weights={value.weights.values}
          shared={shared} scores={scores} />
      </Figure>
      <Loads weights={value.weights.values} branch={branch} />
    </>
  );
}

function Loads({ weights, branch }: { weights: ArrayLike<number>; branch: BranchInfo }) {
  const count = branch.experts!.count;
  const counts = loads(weights, count);
  const most = Math.max(...counts, 1);
  const even = counts.reduce((sum, one) => sum + one, 0) / count;
  const silent = listed(muted.value, count);
  const toggle = (expert: number) => {
    const next = silent.includes(expert) ? silent.filter((one) => one !== expert) : [...silent, expert];
    muted.value = listed(next.join(","), count).join(",");
  };
  return (
    <Figure
      title="How evenly the experts are used"
      caption="The share of all choices that fell on each expert in this text; the thin line is where all would be the same. The coefficient of variation is the standard deviation of the loads over their mean: 0 is even."
    >
      <p>Coefficient of variation <Chip num={variation(counts, branch.path)} label="coefficient of variation" /></p>
      <ul class="loads">
        {counts.map((one, expert) => (
          <li key={expert}>
            <span class="name">expert {expert}</span>
            <span class="track" aria-hidden="true">
              <i style={{ width: `${(100 * one) / most}%` }} /><em style={{ left: `${(100 * even) / most}%` }} />
            </span>
            <Chip num={share(counts, expert, branch.path)} label={`share of expert ${expert}`} />
            <button type="button" aria-pressed={silent.includes(expert)} aria-label={`mute expert ${expert}`} onClick={() => toggle(expert)}>mute</button>
          </li>
        ))}
      </ul>
    </Figure>
  );
}

export const view: View = {
  id: "router",
  title: "Router board",
  question: "Which experts does each token go to?",
  group: "Look inside",
  kinds: KINDS,
  Component: Router,
};
