/** FlashAttention, step by step: one output row made of blocks of keys, without a row of scores. */

import { level, spec, specError } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Num, Read } from "../../data/types.ts";
import { Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, NoModel, useReading, Waiting } from "../../parts/figure.tsx";
import { ATTENTION, attending, chosen, type Chosen, HeadPicker, maskOf, type Placed, placeIn, usePlace } from "../../parts/heads.tsx";
import { TextField } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import { Costs } from "./costs.tsx";
import "./flash.css";
import { Step } from "./step.tsx";
import { Tiles } from "./tiles.tsx";

const row = param("fr", -1);
const size = param("fb", 4);
const step = param("fs", 1);
const SIZES = [1, 2, 4, 8, 16, 32, 64, 128];

const SAID = {
  beginner:
    "To mix what it takes from other tokens, a token needs all its scores to add up to 1, and so it seems to need all of them at once. It does not: keys come block by block, and three running numbers are mended whenever a larger score turns up.",
  intermediate:
    "The softmax is computed online: a running maximum m, a running sum l and a running output. When m grows, what was summed before is scaled by exp(m before - m now). The matrix of scores never exists as a whole, and the result is the same.",
  advanced:
    "Online softmax (Milakov and Gimelshein, arXiv 1805.02867) in tiles (Dao et al., arXiv 2205.14135), on the queries, keys and values of this head. Tiles that the mask hides altogether are skipped. Memory falls from tokens x tokens scores to one tile; the number of products stays.",
};

export interface Block {
  first: number;
  last: number;
  max: number;
  sum: number;
  output_norm: number;
  scale: number;
}

export interface Flash {
  blocks: Block[];
  output_delta: Num;
  eager_bytes: Num;
  tiled_bytes: Num;
  /** Keys from here on are representatives of windows. */
  tokens: number;
  representatives: number;
}

interface Stepped extends Chosen {
  read: Read;
  row: number;
  block: number;
  flash: Flash;
}

async function fetched(read: Read, at: Chosen, asked: number, block: number): Promise<Stepped> {
  const query = placeIn(asked, read.tokens.length);
  const body = { run: read.run, layer: at.branch.path, head: at.head, row: query, block };
  return { ...at, read, row: query, block, flash: await source.json<Flash>("POST", "api/flash", body) };
}

function FlashAttention() {
  const shown = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  if (!shown) return <Waiting text="Reading the spec." />;
  const list = attending(shown);
  if (!list.length) return <NoModel kinds={ATTENTION} what="attention" />;
  return <Stepper list={list} />;
}

function Stepper({ list }: { list: readonly Placed[] }) {
  const at = chosen(list);
  const { value, error } = useReading(
    (one) => fetched(one, at, row.value, size.value),
    [at.branch.path, at.head, row.value, size.value],
  );
  return (
    <>
      <TextField />
      <Figure
        title="One row of attention, block by block"
        caption={SAID[level.value]}
        hint={{
          look: "at the rescale: below 1, a larger score has turned up, and all that was summed before shrinks.",
          change: "the step, and then the size of a block: the last output stays the same.",
          why: "long texts became possible because nothing of tokens x tokens has to be stored.",
        }}
      >
        {error ? <Failed error={error} /> : null}
        {value ? <Shown at={value} list={list} /> : !error && <Waiting text="The model reads the text." />}
      </Figure>
    </>
  );
}

function Shown({ at, list }: { at: Stepped; list: readonly Placed[] }) {
  const tokens = at.read.tokens.length;
  const query = usePlace(row, tokens);
  const now = usePlace(step, at.flash.blocks.length);
  return (
    <>
      <Controls>
        <HeadPicker list={list} />
        <Slider label="Token whose output is made" value={query} min={0} max={tokens - 1} />
        <Slider label="Keys of a block" value={size} min={0} max={0} among={SIZES} />
      </Controls>
      <div class="flash">
        <Tiles branch={at.branch} tokens={tokens} block={at.block} row={at.row} blocks={at.flash.blocks} now={now.value} />
        <Step mask={maskOf(at.branch)} blocks={at.flash.blocks} now={now} tokens={at.read.tokens} row={at.row} />
      </div>
      <Costs flash={at.flash} tokens={tokens} block={at.block} />
    </>
  );
}

export const view: View = {
  id: "flash",
  title: "FlashAttention",
  question: "How can a softmax be computed without ever holding all its scores?",
  group: "Look inside",
  kinds: ATTENTION,
  Component: FlashAttention,
};
