/** The RoPE dial: a query and a key of the text as hands of clocks that their positions turn. */

import { info, level, spec, specError } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Read, Tile } from "../../data/types.ts";
import { Controls, Select, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, NoModel, useReading, Waiting } from "../../parts/figure.tsx";
import { ATTENTION, attending, chosen, type Chosen, HeadPicker, type Placed, usePlace } from "../../parts/heads.tsx";
import { TextField, visible } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import { Dials } from "./dials.tsx";
import { Others } from "./others.tsx";
import { ownScaling, parts, type ScalingKind, turning, vectors } from "./turns.ts";
import { Wave, Wavelengths } from "./wave.tsx";
import "./rope.css";

const query = param("rq", -1);
const key = param("rk", 0);
const shift = param("rs", 0);
const apart = param("ra", 0);
const base = param("rb0", 0);
const scaling = param("rsc", "own");
const factor = param("rfa", 4);
const most = param("rto", 256);
const RANGES = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const BASES = [0, 100, 1000, 10_000, 100_000, 500_000, 1_000_000];

const SAID = {
  beginner:
    "A model must know where a token stands. Here its position turns it: pairs of numbers are hands of a clock, and each token further on turns them on, some fast, some slowly. Two tokens meet by how far their hands are turned apart, so only their distance counts.",
  intermediate:
    "Pair i of a query or key is turned by position x frequency i. Turning both by the same angle changes no dot product: shift both, and the score stays.",
  advanced:
    "q and k are those of this layer and head, after the head norm and before rotation. q k at a distance is a sum of cosines, one for each frequency; it need not fall with distance. For random q and k its mean is 0 at any distance.",
};

interface Shown extends Chosen {
  read: Read;
  tile: Tile;
}

async function fetched(read: Read, at: Chosen): Promise<Shown> {
  const tile = await source.tile({ run: read.run, kind: "heads", layer: at.branch.path, head: at.head });
  return { ...at, read, tile };
}

function Rope() {
  const shown = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  if (!shown) return <Waiting text="Reading the spec." />;
  const list = attending(shown).filter((one) => one.branch.rope);
  return (
    <>
      {list.length ? <Dial list={list} /> : <NoModel kinds={ATTENTION} what="rotary positions" />}
      <Others context={info.value?.context ?? 1024} />
    </>
  );
}

function Dial({ list }: { list: readonly Placed[] }) {
  const at = chosen(list);
  const { value, error } = useReading((one) => fetched(one, at), [at.branch.path, at.head]);
  return (
    <>
      <TextField />
      <Figure title="Two tokens, turned by where they stand" caption={SAID[level.value]}
        hint={{
          look: "at the hands: the first pair turns fast, the last hardly at all.",
          change: "shift both: every hand turns, and the score stays as it was.",
          why: "the model needs no table of positions, and sees how far apart tokens are.",
        }}>
        <Controls><HeadPicker list={list} /></Controls>
        {error ? <Failed error={error} /> : null}
        {value ? <Turned at={value} /> : !error && <Waiting text="The model reads the text." />}
      </Figure>
    </>
  );
}

function Turned({ at }: { at: Shown }) {
  const tokens = at.read.tokens;
  const q = usePlace(query, tokens.length);
  const k = usePlace(key, tokens.length);
  const rope = at.branch.rope!;
  const context = spec.value?.stacks[0]?.context ?? 2048;
  const turns = turning(rope, ownScaling(at.branch), {
    base: base.value, scaling: scaling.value as ScalingKind, factor: factor.value, context,
  });
  const { query: qs, key: ks } = vectors(at.tile, q.value, k.value);
  const all = parts(qs, ks, turns);
  const scale = Number(at.tile.note["scale"] ?? 1);
  const places = { query: q.value + shift.value + apart.value, key: k.value + shift.value };
  const name = (index: number) => `${index} ${visible(tokens[index]!.text)}`;
  return (
    <>
      <Controls>
        <Slider label="Query is token" value={q} min={0} max={tokens.length - 1} text={name} />
        <Slider label="Key is token" value={k} min={0} max={tokens.length - 1} text={name} />
        <Slider label="Shift both by" value={shift} min={0} max={512} />
        <Slider label="Move the query alone by" value={apart} min={0} max={512} />
      </Controls>
      <Dials all={all} query={qs} keyed={ks} places={places} turns={turns} scale={scale} />
      <p class="quiet">
        {turns.pairs === "halves"
          ? `Pairs are halves, as the spec says: feature i turns with feature i + ${rope.width / 2}.`
          : "Pairs are neighbours, as the spec says: feature 2 i turns with feature 2 i + 1."}{" "}
        {rope.width < (at.branch.head_dim ?? rope.width) && `Only ${rope.width} features of a head are turned.`}
      </p>
      <h3 class="part">The same query and key at other distances</h3>
      <Wave all={all} turns={turns} scale={scale} now={places.query - places.key} most={most.value} />
      <Controls>
        <Slider label="Distances up to" value={most} min={0} max={0} among={RANGES} />
        <Slider label="Base" value={base} min={0} max={0} among={BASES}
          text={(one) => (one ? one.toLocaleString("en") : `the model's, ${rope.theta.toLocaleString("en")}`)} />
        <Select label="Scaling" value={scaling.value} set={(one) => (scaling.value = one)}
          options={[["own", `the model's${rope.scaling ? `, ${rope.scaling}` : ", none"}`], ["none", "none"], ["linear", "linear"], ["ntk", "dynamic NTK"], ["yarn", "YaRN"]]} />
        <Slider label="Stretched by" value={factor} min={1} max={32} disabled={["own", "none"].includes(scaling.value)} />
      </Controls>
      <h3 class="part">Tokens for one whole turn of each pair</h3>
      <Wavelengths turns={turns} context={context} />
    </>
  );
}

export const view: View = {
  id: "rope",
  title: "RoPE dial",
  question: "How does a model know how far apart two tokens are?",
  group: "Look inside",
  kinds: ATTENTION,
  Component: Rope,
};
