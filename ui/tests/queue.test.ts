import { expect, test } from "vitest";
import { first, inTurn } from "../src/views/attention/queue.ts";

test("what presses goes before what may wait, and that goes one by one, whatever fails", async () => {
  const said: string[] = [];
  let free = () => {};
  const map = first(new Promise<void>((done) => (free = done)));
  const slow = (name: string, wrong = false) => async () => {
    said.push(`${name} begins`);
    await new Promise((done) => setTimeout(done, 2));
    said.push(`${name} ends`);
    if (wrong) throw new Error(name);
    return name;
  };
  const all = [inTurn(slow("a")), inTurn(slow("b", true)), inTurn(slow("c"))];
  await new Promise((done) => setTimeout(done, 5));
  expect(said).toEqual([]);
  free();
  await map;
  const ends = await Promise.allSettled(all);
  expect(ends.map((one) => one.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(said).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
});

test("what failed presses no longer", async () => {
  await expect(first(Promise.reject(new Error("gone")))).rejects.toThrow("gone");
  expect(await inTurn(async () => 3)).toBe(3);
});
