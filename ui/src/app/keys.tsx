/** Keys that work everywhere but in fields: `[` `]` layer, `,` `.` head, `/` search, `?` this list. */

import { signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { spec } from "./session.ts";
import { link, param } from "./url.ts";

export const layer = param("l", 0);
export const head = param("h", 0);
/** Whether the reader has asked to search; the field takes it when it is there. */
export const searching = signal(false);

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName);
}

export function useKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      const layers = spec.value?.stacks[0]?.layers ?? [];
      const heads = Math.max(0, ...(layers[layer.value]?.branches ?? []).map((one) => one.heads ?? 0));
      switch (event.key) {
        case "[":
          layer.value = Math.max(0, layer.value - 1);
          break;
        case "]":
          layer.value = Math.min(Math.max(layers.length - 1, 0), layer.value + 1);
          break;
        case ",":
          head.value = Math.max(0, head.value - 1);
          break;
        case ".":
          head.value = Math.min(Math.max(heads - 1, 0), head.value + 1);
          break;
        case "/":
          event.preventDefault();
          location.hash = link({ v: "reference" });
          searching.value = true;
          break;
        case "?":
          document.getElementById("keys")?.click();
          break;
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

const KEYS = [
  ["[  ]", "the layer before and after"],
  [",  .", "the head before and after"],
  ["arrows", "move in a map, a list or a slider; with shift ten steps, Home and End to the ends"],
  ["/", "search the reference"],
  ["Esc", "close what is open"],
  ["?", "this list"],
] as const;

export function Keys() {
  const open = useSignal(false);
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open.value]);
  return (
    <>
      <button type="button" id="keys" aria-label="keys" onClick={() => (open.value = true)}>?</button>
      <dialog ref={dialog} aria-label="keys" onClose={() => (open.value = false)}>
        <h2>Keys</h2>
        <dl>
          {KEYS.map(([key, what]) => [<dt key={key}><kbd>{key}</kbd></dt>, <dd key={what}>{what}</dd>])}
        </dl>
        <button type="button" onClick={() => (open.value = false)}>Close</button>
      </dialog>
    </>
  );
}
