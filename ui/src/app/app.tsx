/** The page: a header, the list of views, and the view that is looked at. */

import { useErrorBoundary } from "preact/hooks";
import { source } from "../data/source.ts";
import { Failed } from "../parts/figure.tsx";
import { views } from "../views/index.ts";
import type { View } from "../views/view.ts";
import { Header } from "./header.tsx";
import { useKeys } from "./keys.tsx";
import { failure, info, refresh, route } from "./session.ts";
import { Start } from "./start.tsx";
import { link, unknown } from "./url.ts";

const GROUPS: View["group"][] = ["Talk", "Look inside", "Size", "Learn"];

export function App() {
  useKeys();
  const view = views.find((one) => one.id === route.value);
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>Skip to the view</a>
      <Header />
      <div class="page">
        <Sidebar />
        <main id="main" tabIndex={-1}>
          <Notes />
          {view ? <Shown key={view.id} view={view} /> : <Start lost={route.value !== "start" ? route.value : null} />}
        </main>
      </div>
    </>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Sidebar() {
  return (
    <nav class="sidebar" aria-label="views">
      {GROUPS.map((group) => (
        <div key={group}>
          <h2>{group}</h2>
          <ul>
            {views.filter((one) => one.group === group).map((one) => (
              <li key={one.id}>
                <a href={link({ v: one.id })} aria-current={one.id === route.value ? "page" : undefined}>{one.title}</a>
              </li>
            ))}
          </ul>
        </div>
      ))}
    </nav>
  );
}

/** What the reader should know before the view: a recording, a lost server, words not known. */
function Notes() {
  const recorded = source.recorded;
  const failed = info.value?.status === "failed" ? info.value : null;
  return (
    <>
      {recorded && (
        <p class="note"><b>Recorded</b> on {recorded.machine}, {recorded.date}. Nothing here is live.</p>
      )}
      {failure.value && <Failed error={failure.value} again={() => void refresh()} />}
      {failed && <Failed error={`${failed.label} did not load: ${failed.error}`} />}
      {unknown.value.length > 0 && (
        <p class="note">The address has words that mean nothing here: {unknown.value.join(", ")}.</p>
      )}
    </>
  );
}

function Shown({ view }: { view: View }) {
  const [error, again] = useErrorBoundary();
  document.title = `${view.title} · girih`;
  return (
    <article class={`view view-${view.id}`}>
      {!view.headed && (
        <header>
          <h1>{view.title}</h1>
          <p class="question">{view.question}</p>
        </header>
      )}
      {error ? <Failed error={error} again={again} /> : <view.Component />}
    </article>
  );
}
