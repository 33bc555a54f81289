/** The attention microscope: every map of the loaded model, and one row of one map. */

import { level, spec, specError } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Read, Tile } from "../../data/types.ts";
import { Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, NoModel, useReading, Waiting } from "../../parts/figure.tsx";
import { ATTENTION, attending, chosen, type Chosen, HeadPicker, type Placed, usePlace, maskOf } from "../../parts/heads.tsx";
import { TextField } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import "./attention.css";
import { AttentionMap } from "./map.tsx";
import { poolOf } from "./nucleus.ts";
import { first } from "./queue.ts";
import { Reading } from "./reading.tsx";
import { Thumbs } from "./thumbs.tsx";

const query = param("aq", -1);
const key = param("ak", -1);
const mass = param("tm", 90);

const SAID = {
  beginner:
    "Each row of the map is one token, and shows from which earlier tokens it takes something: the brighter a cell, the more. A row adds up to 1. Hatched is what the token cannot see.",
  intermediate:
    "A row is the softmax of one query with all keys that the mask lets it see. Every head of every layer has a map of its own; the small ones are the same maps, scaled down.",
  advanced:
    "softmax(scale * q k^T + mask), recomputed in float32 from the queries and keys of this layer as they attend, after rotation. The kernel that ran kept no map; what these weights make of its values is compared with what it returned.",
};

export interface Maps extends Chosen {
  read: Read;
  tile: Tile;
  pool: number;
  /** What the tokens take from representatives: [tokens, representatives]. */
  groups: Tile | null;
}

async function fetched(read: Read, at: Chosen): Promise<Maps> {
  const tokens = read.tokens.length;
  const pool = poolOf(tokens);
  const asked = { run: read.run, layer: at.branch.path, head: at.head };
  const tile = await first(source.tile({ kind: "attn", ...asked, r0: 0, c0: 0, rows: tokens, cols: tokens, pool }));
  const grouped = maskOf(at.branch).kind === "grouped";
  const groups = grouped ? await source.tile({ kind: "attn_groups", ...asked }) : null;
  return { ...at, read, tile, pool, groups };
}

function Attention() {
  const shown = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  if (!shown) return <Waiting text="Reading the spec." />;
  const list = attending(shown);
  if (!list.length) return <NoModel kinds={ATTENTION} what="attention" />;
  return <Microscope list={list} />;
}

function Microscope({ list }: { list: readonly Placed[] }) {
  const at = chosen(list);
  const { value, error, busy } = useReading((one) => fetched(one, at), [at.branch.path, at.head]);
  return (
    <>
      <TextField />
      <Figure
        title="Who looks at whom"
        caption={SAID[level.value]}
        hint={{
          look: "at a bright line beside the diagonal: such a head looks one token back.",
          change: "the query, with the arrow keys in the map or in the tokens, and the head, in the small maps.",
          why: "attention is the only place where tokens meet; what a model can copy or compare, it does here.",
        }}
      >
        <Controls>
          <HeadPicker list={list} />
          <Slider label="Carried by the keys that stand out" value={mass} min={10} max={100} text={(one) => `${one} %`} />
        </Controls>
        {error ? <Failed error={error} /> : null}
        <div class="microscope" aria-busy={busy}>
          <div class="all-maps">
            <h3>All layers and heads</h3>
            <Thumbs list={list} at={at} ready={value !== null} />
          </div>
          {value ? <One maps={value} /> : !error && <Waiting text="The model reads the text." />}
        </div>
      </Figure>
    </>
  );
}

function One({ maps }: { maps: Maps }) {
  const tokens = maps.read.tokens.length;
  const row = usePlace(query, tokens);
  const col = usePlace(key, tokens);
  return (
    <>
      <AttentionMap maps={maps} query={row} at={col} />
      <Reading maps={maps} query={row} mass={mass.value / 100} />
    </>
  );
}

export const view: View = {
  id: "attention",
  title: "Attention microscope",
  question: "From which tokens does each token take something, in every head?",
  group: "Look inside",
  kinds: ATTENTION,
  Component: Attention,
};
