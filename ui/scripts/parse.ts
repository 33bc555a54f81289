/** The format of an entry: fields between two lines of dashes, then sections.
 *
 *     ---
 *     title: KV cache
 *     also: cache, key-value cache
 *     ...
 *     ---
 *     # beginner
 *     A paragraph; an empty line ends it.
 *     # characteristics
 *     - A sentence. | figure kv
 *
 * Every error names the file and the line. */

export interface Line {
  text: string;
  at: number;
}

export interface Page {
  file: string;
  fields: Map<string, Line>;
  sections: Map<string, { at: number; lines: Line[] }>;
}

export class PageError extends Error {
  constructor(file: string, at: number, what: string) {
    super(`${file}:${at}: ${what}`);
  }
}

export function parse(file: string, text: string): Page {
  const lines = text.split("\n").map((one, index) => ({ text: one.trimEnd(), at: index + 1 }));
  if (lines[0]?.text !== "---") throw new PageError(file, 1, "the first line is not ---");
  const end = lines.findIndex((one, index) => index > 0 && one.text === "---");
  if (end < 0) throw new PageError(file, 1, "the fields do not end with ---");
  return {
    file,
    fields: fieldsOf(file, lines.slice(1, end)),
    sections: sectionsOf(file, lines.slice(end + 1)),
  };
}

function fieldsOf(file: string, lines: Line[]): Page["fields"] {
  const out: Page["fields"] = new Map();
  for (const { text, at } of lines) {
    const [, name, value] = /^([a-z]+): (.+)$/.exec(text) ?? [];
    if (!name || !value) throw new PageError(file, at, `not a field (name: value): ${text}`);
    if (out.has(name)) throw new PageError(file, at, `the field ${name} stands here twice`);
    out.set(name, { text: value.trim(), at });
  }
  return out;
}

function sectionsOf(file: string, lines: Line[]): Page["sections"] {
  const out: Page["sections"] = new Map();
  let open: Line[] | null = null;
  for (const line of lines) {
    const name = /^# ([a-z]+)$/.exec(line.text)?.[1];
    if (name) {
      if (out.has(name)) throw new PageError(file, line.at, `the section ${name} stands here twice`);
      open = [];
      out.set(name, { at: line.at, lines: open });
    } else if (line.text.startsWith("#")) {
      throw new PageError(file, line.at, `not a section (# name): ${line.text}`);
    } else if (open) {
      open.push(line);
    } else if (line.text) {
      throw new PageError(file, line.at, "text before the first section");
    }
  }
  return out;
}

/** Lines joined to paragraphs, which an empty line ends. */
export function paragraphs(lines: Line[]): string {
  const out: string[] = [];
  let open = false;
  for (const { text } of lines) {
    if (!text) open = false;
    else if (open) out[out.length - 1] += ` ${text.trim()}`;
    else {
      out.push(text.trim());
      open = true;
    }
  }
  return out.join("\n\n");
}

/** The items of a list, `- ` before each; indented lines go on. */
export function items(file: string, lines: Line[]): Line[] {
  const out: Line[] = [];
  for (const { text, at } of lines) {
    if (text.startsWith("- ")) out.push({ text: text.slice(2).trim(), at });
    else if (text.startsWith("  ") && out.length) out[out.length - 1]!.text += ` ${text.trim()}`;
    else if (text) throw new PageError(file, at, `not an item of a list (- text): ${text}`);
  }
  return out;
}
