/** The frame of a view: its question, its picture, its hints; and what stands there without a model. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { asked, info, models, prompt, reason, sampleOf, withRead } from "../app/session.ts";
import type { Kind, Read } from "../data/types.ts";

export interface Hint {
  look: string;
  change: string;
  why: string;
}

/** Three steps, shown on demand, remembered by the browser. */
export function Hints({ look, change, why }: Hint) {
  return (
    <details class="hints">
      <summary>How to read this</summary>
      <ol>
        <li><b>Look</b> {look}</li>
        <li><b>Change</b> {change}</li>
        <li><b>Why</b> {why}</li>
      </ol>
    </details>
  );
}

interface FigureProps {
  title: string;
  children: ComponentChildren;
  hint?: Hint;
  /** One sentence under the picture. */
  caption?: ComponentChildren;
}

export function Figure({ title, children, hint, caption }: FigureProps) {
  return (
    <section class="figure" aria-label={title}>
      <h2>{title}</h2>
      {children}
      {caption && <p class="caption">{caption}</p>}
      {hint && <Hints {...hint} />}
    </section>
  );
}

/** One line of what went wrong; the page goes on. */
export function Failed({ error, again }: { error: unknown; again?: () => void }) {
  return (
    <p class="failed" role="alert">
      {reason(error)}
      {again && <button type="button" onClick={again}>Try again</button>}
    </p>
  );
}

export function Waiting({ text }: { text: string }) {
  return <p class="waiting" role="status">{text}</p>;
}

const NAMES: Partial<Record<Kind, string>> = {
  experts: "a mixture of experts",
  mamba: "Mamba",
  mamba2: "Mamba-2",
  latent: "latent attention",
  grouped: "grouped-window attention",
  window: "a sliding window",
};

/** What a view says where the chosen model has nothing for it: the tiny model that has. */
export function NoModel({ kinds, what }: { kinds: readonly Kind[]; what?: string }) {
  const id = sampleOf(kinds);
  const found = models.value?.models.find((one) => one.id === id);
  const wanted = what ?? NAMES[kinds[0]!] ?? kinds[0];
  return (
    <div class="no-model">
      <p>{info.value?.label ?? "The chosen model"} has no layer with {wanted}.</p>
      {found ? (
        <button type="button" class="main" onClick={() => (asked.value = found.id)}>Show it in {found.label}</button>
      ) : (
        <p>No listed model has one. Start <code>girih explore MODEL</code> with one that has.</p>
      )}
    </div>
  );
}

interface Asked<T> {
  value: T | null;
  error: unknown;
  busy: boolean;
}

/** What an asynchronous answer is by now; asked anew when one of `by` changes, the late one dropped.
 *
 * The last answer stays until the next is there, so that nothing flickers. */
export function useAsked<T>(ask: (() => Promise<T>) | null, by: readonly unknown[]): Asked<T> {
  const state = useSignal<Asked<T>>({ value: null, error: null, busy: ask !== null });
  useEffect(() => {
    let live = true;
    if (!ask) {
      state.value = { value: null, error: null, busy: false };
      return;
    }
    state.value = { ...state.peek(), busy: true };
    ask().then(
      (value) => live && (state.value = { value, error: null, busy: false }),
      (error: unknown) => live && (state.value = { value: null, error, busy: false }),
    );
    return () => {
      live = false;
    };
  }, by);
  return state.value;
}

/** The same of a text that the chosen model has read. */
export function useReading<T>(work: (one: Read) => Promise<T>, by: readonly unknown[]): Asked<T> {
  const id = info.value?.id;
  const text = prompt.value;
  return useAsked(id ? () => withRead(id, text, work) : null, [id, text, ...by]);
}
