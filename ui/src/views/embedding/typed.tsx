/** A field for a token of one's own. */

import type { Signal } from "@preact/signals";
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

export function Typed({ value }: { value: Signal<string> }) {
  const now = useSignal(value.value);
  useEffect(() => {
    now.value = value.value;
  }, [value.value]);
  return (
    <form class="typed" onSubmit={(event) => {
      event.preventDefault();
      value.value = now.value;
    }}>
      <label>
        <span>Or a token of your own</span>
        <input type="text" value={now.value} spellcheck={false} autocomplete="off" onInput={(event) => (now.value = event.currentTarget.value)} />
      </label>
      <button type="submit" disabled={now.value === value.value}>Look up</button>
      {value.value && <button type="button" onClick={() => (value.value = "")}>Back to the text</button>}
    </form>
  );
}
