/** A run as it goes on: its tokens, what the state holds after each, and how it ended. */

import { type Signal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { source } from "./source.ts";
import type { Kind, Likely, Num, RunEvent, RunRequest, Token } from "./types.ts";

export interface Made extends Token {
  logprob: number;
  top: Likely[];
  ms: number;
}

export type Cache = Omit<Extract<RunEvent, { type: "cache" }>, "type">;

export interface RunState {
  status: "idle" | "running" | "done" | "failed";
  /** What it waits for, in words. */
  note: string;
  run: string | null;
  prompt: Token[];
  made: Made[];
  layers: { path: string; kind: Kind }[];
  /** After the prompt, and after each token. */
  caches: Cache[];
  reason: string | null;
  numbers: Record<string, Num>;
  error: string | null;
}

export const IDLE: RunState = {
  status: "idle", note: "", run: null, prompt: [], made: [], layers: [], caches: [], reason: null, numbers: {}, error: null,
};

/** The state with one more event in it. */
export function after(state: RunState, event: RunEvent): RunState {
  switch (event.type) {
    case "status":
      return { ...state, note: event.text };
    case "run":
      return { ...state, note: "", run: event.run, prompt: event.tokens, layers: event.layers };
    case "token": {
      const { id, text, logprob, top, ms } = event;
      return { ...state, note: "", made: [...state.made, { id, text, logprob, top, ms }] };
    }
    case "text": {
      const last = state.made.at(-1);
      if (!last) return state;
      return { ...state, made: [...state.made.slice(0, -1), { ...last, text: last.text + event.text }] };
    }
    case "cache": {
      const { type: _, ...cache } = event;
      return { ...state, caches: [...state.caches, cache] };
    }
    case "done":
      return { ...state, status: "done", note: "", reason: event.reason, numbers: event.numbers };
    case "error":
      return { ...state, status: "failed", note: "", error: event.error };
  }
}

export interface Running {
  state: Signal<RunState>;
  start: (request: RunRequest) => Promise<RunState>;
  stop: () => void;
}

/** One run at a time; a new one ends the last, and so does leaving the view. */
export function useRun(): Running {
  const running = useMemo(() => {
    const state = signal<RunState>(IDLE);
    let control: AbortController | null = null;
    const stop = () => control?.abort();
    const start = async (request: RunRequest): Promise<RunState> => {
      stop();
      const mine = new AbortController();
      control = mine;
      state.value = { ...IDLE, status: "running", note: "starting" };
      try {
        await source.stream("api/run", request, (event) => {
          if (control === mine) state.value = after(state.value, event);
        }, mine.signal);
        if (control === mine && state.value.status === "running") {
          state.value = mine.signal.aborted
            ? { ...state.value, status: "done", note: "", reason: "stopped" }
            : { ...state.value, status: "failed", note: "", error: "the run ended without a word" };
        }
      } catch (error) {
        if (control === mine) {
          state.value = mine.signal.aborted
            ? { ...state.value, status: "done", note: "", reason: "stopped" }
            : { ...state.value, status: "failed", note: "", error: error instanceof Error ? error.message : String(error) };
        }
      }
      return state.value;
    };
    return { state, start, stop };
  }, []);
  useEffect(() => running.stop, []);
  return running;
}
