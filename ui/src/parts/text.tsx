/** The text that the chosen model reads, and its tokens. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { prompt } from "../app/session.ts";
import type { Token } from "../data/types.ts";

/** A field for the text; what is typed is read when the field is left, or by Enter. */
export function TextField({ label = "Text" }: { label?: string }) {
  const typed = useSignal(prompt.value);
  useEffect(() => {
    typed.value = prompt.value;
  }, [prompt.value]);
  return (
    <form
      class="text-field"
      onSubmit={(event) => {
        event.preventDefault();
        if (typed.value) prompt.value = typed.value;
      }}
    >
      <label>
        <span>{label}</span>
        <textarea
          rows={2}
          value={typed.value}
          spellcheck={false}
          onInput={(event) => (typed.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey) return;
            event.preventDefault();
            if (typed.value) prompt.value = typed.value;
          }}
        />
      </label>
      <button type="submit" disabled={typed.value === prompt.value || !typed.value}>Read</button>
    </form>
  );
}

/** A token as one sees it: spaces and line ends are marked. */
export function visible(text: string): string {
  return text.replaceAll(" ", "·").replaceAll("\n", "↵").replaceAll("\t", "→") || "∅";
}

interface TokensProps {
  tokens: readonly Token[];
  at?: { value: number };
  /** Share of the accent behind each token, 0 to 1. */
  weight?: (index: number) => number;
  title?: (index: number) => string;
}

/** Tokens as pills in the order of the text; one of them may be chosen. */
export function Tokens({ tokens, at, weight, title }: TokensProps) {
  if (!tokens.length) return null;
  return (
    <div class="tokens" role={at ? "listbox" : "list"} aria-label="tokens" tabIndex={at ? 0 : undefined}
      aria-activedescendant={at ? `token-${at.value}` : undefined}
      onKeyDown={(event) => {
        if (!at) return;
        const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        at.value = Math.max(0, Math.min(at.value + by, tokens.length - 1));
      }}
    >
      {tokens.map((token, index) => (
        <span
          key={index}
          id={at ? `token-${index}` : undefined}
          role={at ? "option" : "listitem"}
          aria-selected={at ? index === at.value : undefined}
          class={at && index === at.value ? "token on" : "token"}
          title={title?.(index) ?? `${index}: id ${token.id}`}
          style={weight ? { "--weight": `${Math.round(100 * weight(index))}%` } : undefined}
          onClick={at ? () => (at.value = index) : undefined}
        >
          {visible(token.text)}
        </span>
      ))}
    </div>
  );
}
