/** One row of attention: what one token takes from which, as bars at the tokens. */

import type { Signal } from "@preact/signals";
import type { Token } from "../../data/types.ts";
import { digits } from "../../numbers/format.ts";
import { visible } from "../../parts/text.tsx";

/** Tokens around the query that are drawn of a long text. */
const NEAR = 256;

interface Props {
  tokens: readonly Token[];
  query: Signal<number>;
  /** The query whose weights these are. */
  now: number;
  /** What each token is given; of those that the mask hides, nothing. */
  weights: ArrayLike<number>;
  sees: (key: number) => boolean;
  kept: (key: number) => boolean;
  most: number;
}

export function WeightRow({ tokens, query, now, weights, sees, kept, most }: Props) {
  const first = Math.max(0, Math.min(now - NEAR + 17, tokens.length - NEAR));
  const shown = tokens.slice(first, first + NEAR);
  const move = (event: KeyboardEvent) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -tokens.length, End: tokens.length }[event.key];
    if (!by) return;
    event.preventDefault();
    query.value = Math.max(0, Math.min(query.peek() + by * (event.shiftKey ? 10 : 1), tokens.length - 1));
  };
  return (
    <>
      <div class="weights" role="listbox" tabIndex={0} aria-label="tokens with what the chosen one takes from each; arrow keys choose"
        aria-activedescendant={`weight-${now}`} onKeyDown={move}>
        {shown.map((token, index) => {
          const key = first + index;
          const seen = sees(key);
          const words = ["weight", key === now ? "on" : "", seen ? "" : "masked", seen && !kept(key) ? "faint" : ""];
          const said = seen ? digits(Number(weights[key]!.toPrecision(3))) : "not seen";
          return (
            <span key={key} id={`weight-${key}`} role="option" aria-selected={key === now} data-key={key}
              class={words.filter(Boolean).join(" ")} title={`${key}: ${said}`} aria-label={`${token.text || "nothing"}: ${said}`}
              onClick={() => (query.value = key)}>
              <span class="bar" aria-hidden="true">
                {seen && <i style={{ height: `${Math.max((100 * weights[key]!) / (most || 1), 2)}%` }} />}
              </span>
              <span class="word" aria-hidden="true">{visible(token.text)}</span>
            </span>
          );
        })}
      </div>
      {shown.length < tokens.length && (
        <p class="quiet">Tokens {first} to {first + shown.length - 1} of {tokens.length}; the map shows all.</p>
      )}
    </>
  );
}
