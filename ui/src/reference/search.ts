/** Finding entries by words: whole words and their beginnings first, then what is spelled alike. */

import type { Entry } from "./types.ts";

const ALIKE = 0.45;

/** Small letters and digits, without accents; anything else is a space. */
export function folded(text: string): string {
  return text.normalize("NFKD").replaceAll(/[\u0300-\u036f]/g, "").toLowerCase().replaceAll(/[^a-z0-9]+/g, " ").trim();
}

function words(text: string): string[] {
  return folded(text).split(" ").filter(Boolean);
}

/** The runs of three letters of a word, its ends counted too. */
function trigrams(word: string): Set<string> {
  const padded = ` ${word} `;
  const out = new Set<string>();
  for (let i = 0; i + 3 <= padded.length; i++) out.add(padded.slice(i, i + 3));
  return out;
}

/** How much two words share: 0 nothing, 1 all (Dice). */
export function alike(a: string, b: string): number {
  const [first, second] = [trigrams(a), trigrams(b)];
  let shared = 0;
  for (const one of first) if (second.has(one)) shared += 1;
  return (2 * shared) / (first.size + second.size || 1);
}

interface Indexed {
  entry: Entry;
  names: string[];
  name: string[];
  gist: string[];
  text: string[];
}

export function indexed(entries: readonly Entry[]): Indexed[] {
  return entries.map((entry) => ({
    entry,
    names: [entry.title, ...entry.also].map(folded),
    name: [entry.title, ...entry.also].flatMap(words),
    gist: words(entry.gist),
    text: words([...Object.values(entry.text), ...entry.uses, ...entry.examples.map((one) => one.name)].join(" ")),
  }));
}

/** How well one word fits an entry; 0: not at all. */
function fit(word: string, one: Indexed): number {
  if (one.name.includes(word)) return 10;
  if (one.name.some((name) => name.startsWith(word))) return 7;
  if (one.gist.some((name) => name.startsWith(word))) return 3;
  if (word.length > 2 && one.text.some((name) => name.startsWith(word))) return 1;
  if (word.length < 4) return 0;
  const best = Math.max(...one.name.map((name) => alike(word, name)));
  return best >= ALIKE ? 5 * best : 0;
}

/** The entries in which every word is found, the best first; all of them where nothing is asked. */
export function search(index: readonly Indexed[], asked: string): Entry[] {
  const all = words(asked);
  if (!all.length) return index.map((one) => one.entry);
  const phrase = folded(asked);
  const scored = index.flatMap((one) => {
    const fits = all.map((word) => fit(word, one));
    if (fits.includes(0)) return [];
    const whole = one.names.some((name) => name.startsWith(phrase)) ? 20 : 0;
    return [{ entry: one.entry, score: whole + fits.reduce((sum, value) => sum + value, 0) }];
  });
  scored.sort((a, b) => b.score - a.score || a.entry.title.length - b.entry.title.length);
  return scored.map((one) => one.entry);
}
