/** Who is served first: what is looked at before the small maps, and those one after the other. */

const pressing = new Set<Promise<unknown>>();
let last: Promise<unknown> = Promise.resolve();

/** What somebody waits for. */
export function first<T>(work: Promise<T>): Promise<T> {
  const done = () => void pressing.delete(work);
  pressing.add(work);
  work.then(done, done);
  return work;
}

/** What may wait until nothing presses and all that waited before it is done. */
export function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const next = last.then(idle).then(work);
  last = next.then(Boolean, Boolean);
  return next;
}

async function idle(): Promise<void> {
  while (pressing.size) await Promise.allSettled([...pressing]);
}
