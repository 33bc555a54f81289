/** Text of an entry: paragraphs, `code`, and names of entries that lead to them. */

import { link } from "../app/url.ts";

/** A piece of a text, and what it is. */
export type Piece = { text: string; as: "text" | "code" } | { text: string; as: "entry"; id: string };

export function pieces(text: string): Piece[] {
  const out: Piece[] = [];
  let end = 0;
  for (const found of text.matchAll(/`([^`]+)`|\[\[([^\]|]+)(?:\|([^\]]+))?\]\]/g)) {
    if (found.index > end) out.push({ text: text.slice(end, found.index), as: "text" });
    const [whole, code, id, words] = found;
    if (code !== undefined) out.push({ text: code, as: "code" });
    else out.push({ text: words ?? id!.replaceAll("-", " "), as: "entry", id: id! });
    end = found.index + whole.length;
  }
  if (end < text.length) out.push({ text: text.slice(end), as: "text" });
  return out;
}

export function entryLink(id: string): string {
  return link({ v: "reference", e: id });
}

export function Prose({ text }: { text: string }) {
  return (
    <>
      {pieces(text).map((one, index) => {
        if (one.as === "code") return <code key={index}>{one.text}</code>;
        if (one.as === "entry") return <a key={index} href={entryLink(one.id)}>{one.text}</a>;
        return one.text;
      })}
    </>
  );
}

export function Paragraphs({ text }: { text: string }) {
  return <>{text.split("\n\n").map((one, index) => <p key={index}><Prose text={one} /></p>)}</>;
}
