/** The address of the view, and the view as one file. */

import { useSignal } from "@preact/signals";
import { base64 } from "../data/tile.ts";
import { Live, source } from "../data/source.ts";
import { reason, route } from "./session.ts";

const LONG = 4000;

export function Share() {
  const said = useSignal("");
  const tell = (text: string) => {
    said.value = text;
    setTimeout(() => said.value === text && (said.value = ""), 6000);
  };
  const copy = async () => {
    const long = location.href.length > LONG ? " It is long: a file may travel better." : "";
    try {
      await navigator.clipboard.writeText(location.href);
      tell(`The address is copied: it holds the whole view.${long}`);
    } catch {
      tell(`The address bar holds the whole view; copy it from there.${long}`);
    }
  };
  const save = async () => {
    try {
      await exported();
      tell("Saved: one file that opens without girih.");
    } catch (error) {
      tell(reason(error));
    }
  };
  return (
    <div class="share">
      <button type="button" onClick={() => void copy()}>Copy link</button>
      {!source.recorded && <button type="button" onClick={() => void save()}>Save as file</button>}
      <span class="said" role="status">{said.value}</span>
    </div>
  );
}

/** Ask for the page with all that it was told inside, and let the browser save it. */
async function exported(): Promise<void> {
  if (!(source instanceof Live)) return;
  const keep: Record<string, unknown> = {};
  for (const [key, { value }] of source.kept) {
    keep[key] = "tile" in value ? { tile: value.tile, base64: base64(value.bytes!) } : value;
  }
  const page = await source.sent("api/export", { hash: location.hash, title: document.title, keep });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(page);
  anchor.download = `girih-${route.value}.html`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}
