/** Which token the neighbours are asked of. */

import type { Token } from "../../data/types.ts";

/** What is asked of the server: an id, or a text. */
export function wanted(text: string, token: Token | undefined): number | string | null {
  const id = /^#(\d+)$/.exec(text);
  if (id) return Number(id[1]);
  return text || (token ? token.id : null);
}
