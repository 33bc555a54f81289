/** The embedding: which tokens the loaded table holds to be alike. */

import { info, level, model, prompt, read, spec, specError } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { source } from "../../data/source.ts";
import type { Num, Read, StackInfo, Token } from "../../data/types.ts";
import { computed, digits } from "../../numbers/format.ts";
import { Chip } from "../../parts/chip.tsx";
import { Controls, Slider } from "../../parts/controls.tsx";
import { Failed, Figure, useAsked, Waiting } from "../../parts/figure.tsx";
import { measured, placeIn, usePlace } from "../../parts/heads.tsx";
import { TextField, Tokens, visible } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import "./embedding.css";
import { Typed } from "./typed.tsx";
import { wanted } from "./wanted.ts";

const place = param("ei", 1);
/** What was typed or walked to; "" is the token of the text. `#7` is the token of id 7. */
const typed = param("et", "");
const count = param("en", 12);

const SAID = {
  beginner:
    "The model knows a token only as a row of numbers, learned from text. Tokens that were used alike end up with rows that point the same way; a cosine of 1 is the same direction, 0 is none in common.",
  intermediate:
    "The table has one row for each token of the vocabulary. Nearest is by the cosine of rows, computed over the whole table of the loaded model, whatever format it is stored in.",
  advanced:
    "cos(e_i, e_j) = e_i e_j / (|e_i| |e_j|) over the rows of the input embedding. Where the head is tied, the same rows score the next token, which pushes rows of interchangeable tokens together.",
};

export interface Nearest {
  token: number | Token;
  nearest: (Token & { cosine: number })[];
  tied: boolean;
  pieces?: number;
}

interface Asked {
  token: Token;
  answer: Nearest;
}

function Embedding() {
  const shown = spec.value;
  if (specError.value) return <Failed error={specError.value} />;
  const stack = shown?.stacks.find((one) => one.vocab > 0);
  if (!shown || !info.value) return <Waiting text="Reading the spec." />;
  if (!stack) return <p>{shown.label} reads no tokens, and has no table of them.</p>;
  return <Page stack={stack} />;
}

function Page({ stack }: { stack: StackInfo }) {
  const id = model.value;
  const text = prompt.value;
  const reading = useAsked(() => read(id, text), [id, text]);
  return (
    <>
      <TextField />
      <Figure
        title="Nearest tokens"
        caption={SAID[level.value]}
        hint={{
          look: "at what the nearest have in common: a meaning, a place in a sentence, or only their spelling.",
          change: "the token, with the arrow keys in the text, or walk from neighbour to neighbour.",
          why: "everything that a model makes of a token begins with this row.",
        }}
      >
        <Table stack={stack} />
        {reading.error ? <Failed error={reading.error} /> : null}
        {reading.value ? <Body read={reading.value} /> : !reading.error && <Waiting text="Reading the text." />}
      </Figure>
    </>
  );
}

/** What the table is. */
function Table({ stack }: { stack: StackInfo }) {
  const params = computed(stack.vocab * stack.dim, "params", "vocab * dim", { vocab: stack.vocab, dim: stack.dim }, "the shape of the embedding");
  const fact = (value: number, what: string): Num => computed(value, "", what, {}, `$.stacks.${stack.name}`);
  return (
    <p class="table-facts">
      The table has <Chip label="tokens of the vocabulary" num={fact(stack.vocab, "vocab")} /> rows of{" "}
      <Chip label="numbers of a row" num={fact(stack.dim, "dim")} /> numbers: <Chip label="parameters of the table" num={params} />.{" "}
      {stack.tied
        ? "It is tied: the head that scores the next token reads the same table."
        : "It is not tied: the head that scores the next token has a table of its own."}
    </p>
  );
}

function Body({ read: given }: { read: Read }) {
  const at = usePlace(place, given.tokens.length);
  const token = given.tokens[placeIn(at.value, given.tokens.length)];
  const ask = wanted(typed.value, token);
  const { value, error } = useAsked<Asked>(
    ask === null ? null : async () => {
      const answer = await source.json<Nearest>("POST", "api/nearest", { model: given.model, token: ask, n: count.value });
      return { token: whole(answer, token, ask), answer };
    },
    [given.model, ask, count.value],
  );
  return (
    <>
      <div onClick={() => (typed.value = "")} onKeyDown={(event) => event.key.startsWith("Arrow") && (typed.value = "")}>
        <Tokens tokens={given.tokens} at={at} />
      </div>
      <Controls>
        <Typed value={typed} />
        <Slider label="How many" value={count} min={4} max={40} />
      </Controls>
      {error ? <Failed error={error} /> : null}
      {value && <List asked={value} />}
    </>
  );
}

/** The token that was asked for, with its text. */
function whole(answer: Nearest, token: Token | undefined, ask: number | string): Token {
  if (typeof answer.token !== "number") return answer.token;
  const text = token?.id === answer.token ? token.text : typeof ask === "string" ? ask : "";
  return { id: answer.token, text };
}

function List({ asked }: { asked: Asked }) {
  const { token, answer } = asked;
  const most = Math.max(...answer.nearest.map((one) => one.cosine), 1e-6);
  return (
    <>
      <h3 class="nearest-to">
        Nearest to <span class="token on">{visible(token.text)}</span> <span class="quiet">token {token.id}</span>
      </h3>
      {answer.pieces !== undefined && answer.pieces > 1 && (
        <p class="note">What was typed is {digits(answer.pieces)} tokens; this is the first of them.</p>
      )}
      <ol class="nearest">
        {answer.nearest.map((one) => (
          <li key={one.id}>
            <button type="button" class="token" title={`token ${one.id}; walk to it`} onClick={() => (typed.value = `#${one.id}`)}>
              {visible(one.text)}
            </button>
            <Chip label={`cosine of ${visible(one.text)}`} num={measured(one.cosine, "", "e_i * e_j / (|e_i| * |e_j|)", `rows ${token.id} and ${one.id} of the loaded table`)} />
            <span class="cosine" aria-hidden="true" style={{ width: `${Math.max(0, (100 * one.cosine) / Math.max(most, 1e-6))}%` }} />
          </li>
        ))}
      </ol>
    </>
  );
}

export const view: View = {
  id: "embedding",
  title: "Embedding",
  question: "Which tokens does the model hold to be alike before it has read anything?",
  group: "Look inside",
  Component: Embedding,
};
