/** The figure of an entry, live: a view inside a frame, on a model that shows it. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useErrorBoundary, useLayoutEffect } from "preact/hooks";
import { asked, info, lent, models, sampleOf } from "../app/session.ts";
import { ensure, link } from "../app/url.ts";
import { source } from "../data/source.ts";
import { Failed, Waiting } from "../parts/figure.tsx";
import { views } from "../views/index.ts";
import type { Shown } from "./types.ts";

/** Where nobody has chosen a model, the entry borrows one that shows it, and gives it back. */
function useModel({ kinds }: Shown): void {
  const list = models.value;
  useLayoutEffect(() => {
    const own = list?.models.find((one) => one.id === (asked.peek() || list.default));
    if (!own || asked.peek() || !kinds.length || own.kinds.some((kind) => kinds.includes(kind))) return;
    lent.value = kinds.map((kind) => sampleOf([kind])).find((id) => id) ?? "";
    return () => {
      lent.value = "";
    };
  }, [list]);
}

export function LiveFigure({ figure, title }: { figure: Shown; title: string }) {
  const ready = useSignal(false);
  useModel(figure);
  useLayoutEffect(() => {
    ensure(figure.with);
    ready.value = true;
  }, []);
  const view = views.find((one) => one.id === figure.view);
  if (!view) return null;
  const usual = models.value?.models.find((one) => one.id === models.value?.default);
  return (
    <section class="live" id="live" tabIndex={-1} aria-label={`${title}, live`}>
      <header>
        <h2>{view.title}</h2>
        <a href={link({ v: view.id, ...figure.with, ...(lent.value ? { m: lent.value } : {}) })}>open in full</a>
        <p>
          {source.recorded ? "Recorded" : "Live"}{info.value && ` on ${info.value.label}`}
          {lent.value && usual ? `, since ${usual.label} has no such layer` : ""}.
        </p>
      </header>
      <div class={`inside view-${view.id}`}>
        {ready.value ? <Guarded><view.Component /></Guarded> : <Waiting text="Opening the figure." />}
      </div>
    </section>
  );
}

function Guarded({ children }: { children: ComponentChildren }) {
  const [error, again] = useErrorBoundary();
  return error ? <Failed error={error} again={again} /> : <>{children}</>;
}
