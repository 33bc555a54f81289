/** What one sees first: what this is, the models at hand, and where to begin. */

import { Chip } from "../parts/chip.tsx";
import { views } from "../views/index.ts";
import { asked, info, model, models } from "./session.ts";
import { link } from "./url.ts";

const FIRST = ["attention", "mask", "ledger", "kv", "chat", "reference"];

export function Start({ lost }: { lost: string | null }) {
  document.title = "girih: see inside the model that runs on your machine";
  const chosen = info.value;
  return (
    <article class="start">
      {lost && <p class="note">There is no view named {lost}.</p>}
      <header class="hero">
        <h1>See inside the model that runs on your machine</h1>
        <p>
          Every mask you see is the mask that the engine uses, every byte is a byte of a tensor, and every
          number opens to its formula. Nothing leaves this machine.
        </p>
      </header>
      <section aria-labelledby="begin">
        <h2 id="begin">Begin</h2>
        <ul class="cards">
          {FIRST.flatMap((id) => views.filter((one) => one.id === id)).map((one) => (
            <li key={one.id}>
              <a class="card" href={link({ v: one.id })}><b>{one.title}</b><span>{one.question}</span></a>
            </li>
          ))}
        </ul>
      </section>
      <section aria-labelledby="at-hand">
        <h2 id="at-hand">Models at hand</h2>
        <ul class="models">
          {(models.value?.models ?? []).map((one) => (
            <li key={one.id} class={one.id === model.value ? "on" : undefined}>
              <button type="button" aria-pressed={one.id === model.value} onClick={() => (asked.value = one.id)}>
                <b>{one.label}</b><span>{one.about}</span>
              </button>
              <Chip num={one.parameters} label={`parameters of ${one.label}`} />
            </li>
          ))}
        </ul>
        {!models.value && <p class="waiting">Asking girih which models are at hand.</p>}
        {chosen && <p class="quiet">The views show {chosen.label}.</p>}
      </section>
    </article>
  );
}
