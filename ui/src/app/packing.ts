/** Texts of an address, deflated: letters, digits, `-` and `_`. */

import { effect, type Signal, signal } from "@preact/signals";
import { param } from "./url.ts";

type Bytes = Uint8Array<ArrayBuffer>;

async function through(bytes: Bytes, stream: CompressionStream | DecompressionStream): Promise<Bytes> {
  const whole = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(whole).arrayBuffer());
}

export async function packed(text: string): Promise<string> {
  const bytes = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Rejects where the letters are none of ours. */
export async function unpacked(letters: string): Promise<string> {
  const bytes = Uint8Array.from(atob(letters.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw")));
}

/** A text that is kept in the address, deflated, unless it is the one that one starts with. */
export function packedText(name: string, start: string): Signal<string> {
  const letters = param(name, "");
  const text = signal(start);
  // The letters that stand for the text of now: what differs from them came from the address.
  let known = "";
  effect(() => {
    const held = letters.value;
    if (held === known) return;
    known = held;
    if (!held) text.value = start;
    else unpacked(held).then((found) => known === held && (text.value = found), () => known === held && (text.value = start));
  });
  let first = true;
  effect(() => {
    const now = text.value;
    if (first) {
      first = false;
      return;
    }
    const put = (made: string) => {
      if (text.peek() !== now) return;
      known = made;
      letters.value = made;
    };
    if (now === start) put("");
    else void packed(now).then(put);
  });
  return text;
}
