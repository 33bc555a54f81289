/** Talk to the chosen model, and see each choice that it made. */

import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { packedText } from "../../app/packing.ts";
import { info, level, refresh } from "../../app/session.ts";
import { param } from "../../app/url.ts";
import { type Made, type RunState, useRun } from "../../data/run.ts";
import { source } from "../../data/source.ts";
import type { RunRequest } from "../../data/types.ts";
import { Chip } from "../../parts/chip.tsx";
import { Slider } from "../../parts/controls.tsx";
import { Failed, Figure, Waiting } from "../../parts/figure.tsx";
import { LedgerArea } from "../../parts/ledger.tsx";
import { Tokens } from "../../parts/text.tsx";
import type { View } from "../view.ts";
import { Choices } from "./choices.tsx";
import "./chat.css";

const ASK = "Why is the sky blue? Answer in two sentences.";
const GO_ON = "Elizabeth looked at Mr. Darcy; and";
const asked = packedText("q", "");
const temperature = param("t", 0);
const topP = param("tp", 1);
const topK = param("tk", 0);
const minP = param("mp", 0);
const seed = param("s", 1);
const most = param("mx", 64);

interface Turn {
  role: "user" | "assistant";
  content: string;
}

const SAID = {
  beginner: "The model writes one token at a time: it gives every token it knows a probability, and one of them is drawn. Choose a token to see what else it thought of.",
  intermediate: "At temperature 0 the likeliest token is taken; above it one is drawn, after top-k, top-p and min-p have cut the tail.",
  advanced: "Probabilities are of the model's own distribution, before temperature and cuts. No capture is taken in this pass, so its times are those of a plain run.",
};

function sampling(): Omit<RunRequest, "model"> {
  return {
    max_tokens: most.value,
    temperature: temperature.value,
    ...(topP.value < 1 ? { top_p: topP.value } : {}),
    ...(topK.value > 0 ? { top_k: topK.value } : {}),
    ...(minP.value > 0 ? { min_p: minP.value } : {}),
    seed: seed.value,
    top: 10,
  };
}

function Chat() {
  const { state, start, stop } = useRun();
  const turns = useSignal<Turn[]>([]);
  const at = useSignal(0);
  const chosen = info.value;
  const talks = chosen?.chat ?? false;
  useEffect(() => {
    stop();
    turns.value = [];
  }, [chosen?.id]);
  if (!chosen) return <Waiting text="Asking girih which models are at hand." />;
  const now = state.value;
  const send = async (text: string) => {
    at.value = 0;
    const before: Turn[] = talks ? [...turns.value, { role: "user", content: text }] : [];
    turns.value = before;
    const what = talks ? { messages: before } : { prompt: text, raw: true };
    const ended = await start({ model: chosen.id, ...what, ...sampling() });
    void refresh();
    const answer = ended.made.map((one) => one.text).join("");
    if (talks && answer) turns.value = [...before, { role: "assistant", content: answer }];
  };
  return (
    <Figure title={talks ? `A talk with ${chosen.label}` : `${chosen.label} goes on with a text`} caption={SAID[level.value]}
      hint={{
        look: "at the tokens: the fainter one is, the less sure the model was of it.",
        change: "the temperature to 1, and the seed.",
        why: "what a model says is one draw; what it is, is the whole list beside it.",
      }}>
      <div class="talk">
        <div class="said-column">
          {talks && <Turns turns={turns.value} />}
          <Answer state={now} at={at} prompt={talks ? null : now.prompt.map((one) => one.text).join("")} />
          <Ask talks={talks} busy={now.status === "running"} send={send} stop={stop}
            clear={turns.value.length ? () => (turns.value = []) : null} />
        </div>
        <div class="side-column">
          <Choices state={now} at={at} />
          <section aria-label="state">
            <h3>What it remembers</h3>
            <LedgerArea state={now} />
          </section>
          <Sampling />
        </div>
      </div>
    </Figure>
  );
}

function Turns({ turns }: { turns: Turn[] }) {
  // The newest answer is shown token by token below.
  const said = turns.at(-1)?.role === "assistant" ? turns.slice(0, -1) : turns;
  return (
    <ol class="turns">
      {said.map((one, index) => (
        <li key={index} class={one.role}><b>{one.role === "user" ? "you" : "model"}</b><p>{one.content}</p></li>
      ))}
    </ol>
  );
}

function Answer({ state, at, prompt }: { state: RunState; at: Signal<number>; prompt: string | null }) {
  if (state.status === "idle") return null;
  const sure = (one: Made) => Math.min(Math.exp(one.logprob), 1);
  return (
    <div class="answer">
      {prompt !== null && <p class="given">{prompt}</p>}
      {state.made.length > 0 && (
        <Tokens tokens={state.made} at={at} weight={(index) => 0.35 * sure(state.made[index]!)}
          title={(index) => `${(100 * sure(state.made[index]!)).toFixed(1)} %`} />
      )}
      {state.note && <Waiting text={state.note} />}
      {state.error && <Failed error={state.error} />}
      <p class="ended" role="status">
        {state.status === "done" && (
          <>
            {{ length: "As many tokens as asked for.", stop: "The model has ended.", cancelled: "Stopped.", stopped: "Stopped." }[state.reason ?? ""] ?? state.reason}{" "}
            {Object.entries(state.numbers).map(([name, num]) => (
              <span key={name}>{NAMES[name] ?? name} <Chip num={num} label={NAMES[name] ?? name} /> </span>
            ))}
          </>
        )}
      </p>
    </div>
  );
}

const NAMES: Record<string, string> = { prompt_rate: "prompt", decode_rate: "answer", first: "first token after" };

interface AskProps {
  talks: boolean;
  busy: boolean;
  send: (text: string) => Promise<void>;
  stop: () => void;
  clear: (() => void) | null;
}

function Ask({ talks, busy, send, stop, clear }: AskProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const start = talks ? ASK : GO_ON;
  const text = asked.value || start;
  const go = () => {
    const said = field.current?.value.trim() ? field.current.value : "";
    if (!said || busy) return;
    asked.value = said === start ? "" : said;
    void send(said);
  };
  return (
    <form class="ask" onSubmit={(event) => event.preventDefault()}>
      <label>
        <span>{talks ? "You say" : "Text to go on with"}</span>
        <textarea ref={field} rows={3} value={text}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey) return;
            event.preventDefault();
            go();
          }} />
      </label>
      <div class="buttons">
        {/* One button, never of type submit: it is drawn anew within its own click, and would then submit. */}
        <button type="button" class="main" disabled={!busy && source.recorded !== null} onClick={busy ? stop : go}>
          {busy ? "Stop" : talks ? "Say it" : "Go on"}
        </button>
        {clear && <button type="button" disabled={busy} onClick={clear}>Start afresh</button>}
      </div>
    </form>
  );
}

function Sampling() {
  return (
    <section class="sampling" aria-label="sampling">
      <h3>Sampling</h3>
      <Slider label="Temperature" value={temperature} min={0} max={2} step={0.05} text={(v) => (v ? v.toFixed(2) : "0, greedy")} />
      <Slider label="Top-p" value={topP} min={0.05} max={1} step={0.05} text={(v) => (v < 1 ? v.toFixed(2) : "off")} />
      <Slider label="Top-k" value={topK} min={0} max={100} text={(v) => (v ? String(v) : "off")} />
      <Slider label="Min-p" value={minP} min={0} max={0.5} step={0.01} text={(v) => (v ? v.toFixed(2) : "off")} />
      <Slider label="Seed" value={seed} min={0} max={100} />
      <Slider label="Tokens at most" value={most} min={8} max={512} step={8} />
    </section>
  );
}

export const view: View = {
  id: "chat",
  title: "Chat and playground",
  question: "What does it say, and what else did it think of?",
  group: "Talk",
  Component: Chat,
};
