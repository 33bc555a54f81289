/** The state loom: what a scan writes, keeps and forgets at each token of a text. */

import { level, sampleOf, spec } from "../../app/session.ts";
import { source } from "../../data/source.ts";
import type { BranchInfo, Kind } from "../../data/types.ts";
import { chosen, LayerSelect, placed } from "../../parts/branch.tsx";
import { Controls } from "../../parts/controls.tsx";
import { Failed, NoModel, useReading, Waiting } from "../../parts/figure.tsx";
import { KINDS as WORDS } from "../../parts/stack.tsx";
import { TextField } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import { Left } from "./left.tsx";
import { Flat, Norms } from "./state.tsx";
import { Steps } from "./steps.tsx";
import "./loom.css";

const KINDS: readonly Kind[] = ["mamba", "mamba2", "delta", "state_space"];
/** Of a text longer than this only the beginning is woven: the matrix has its square of cells. */
const MOST = 512;

const SAID = {
  beginner:
    "This kind of layer keeps no list of tokens. It has a fixed number of memory cells, and at every token it decides how much to write into them and how much of the old to let fade.",
  intermediate:
    "h = keep h + write: the layer reads a text once, from left to right, with a state of a fixed size. How much is kept is worked out from the token itself.",
  advanced:
    "h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t, y_t = C_t h_t. The figures are this forward pass's own delta, A, B and C; of a delta rule beta and the decay stand in for them.",
};

function Loom() {
  const all = placed(KINDS);
  const now = chosen(all);
  if (!spec.value) return <Waiting text="Reading the spec." />;
  if (!now) return <NoModel kinds={sampleOf(["mamba"]) ? ["mamba"] : KINDS} what="a state instead of attention" />;
  return (
    <>
      <p>{SAID[level.value]}</p>
      <TextField />
      <Controls>
        <LayerSelect all={all} />
        <span class="quiet">{WORDS[now.branch.kind]}, layer {now.index}</span>
      </Controls>
      <Woven key={now.branch.path} branch={now.branch} />
      <Flat branch={now.branch} />
    </>
  );
}

function Woven({ branch }: { branch: BranchInfo }) {
  const { value, error } = useReading(async (one) => {
    const size = Math.min(one.tokens.length, MOST);
    const of = (kind: string, more: Record<string, number> = {}) =>
      source.tile({ run: one.run, kind, layer: branch.path, ...more });
    const [delta, keep, left, norm] = await Promise.all([
      branch.kind === "state_space" ? null : of("delta"),
      of("keep"),
      of("left", { rows: size, cols: size }),
      of("norm"),
    ]);
    return { tokens: one.tokens, delta, keep, left, norm };
  }, [branch.path]);
  if (error) return <Failed error={error} />;
  if (!value) return <Waiting text="Reading the text." />;
  return (
    <>
      <Steps tokens={value.tokens} delta={value.delta} keep={value.keep} branch={branch} />
      <Left tokens={value.tokens} tile={value.left} />
      <Norms tokens={value.tokens} tile={value.norm} branch={branch} />
    </>
  );
}

export const view: View = {
  id: "loom",
  title: "State loom",
  question: "What does a layer without attention keep of the text?",
  group: "Look inside",
  kinds: KINDS,
  Component: Loom,
};
