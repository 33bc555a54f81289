/** One entry: what it is, how it works, where it is seen. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { LEVELS, type Level, level } from "../app/session.ts";
import { link } from "../app/url.ts";
import { Choice } from "../parts/controls.tsx";
import { LiveFigure } from "./live.tsx";
import { Tile } from "./marks.tsx";
import { Source } from "./source.tsx";
import { entryLink, Paragraphs, Prose } from "./text.tsx";
import { Proof } from "./proof.tsx";
import type { Entry } from "./types.ts";

let moved = false;
addEventListener("hashchange", () => (moved = true), { once: true });

export function EntryPage({ entry, all }: { entry: Entry; all: Entry[] }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${entry.title} · reference · girih`;
    // Of a page that has just been opened, the reader begins where the browser begins.
    if (moved) heading.current?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [entry]);
  return (
    <div class="entry">
      <p class="way">
        <a href={link({ v: "reference" })}>Reference</a>
        <span>{entry.category}</span>
        <span>{entry.level}</span>
      </p>
      <header>
        <Tile category={entry.category} size={46} />
        <div>
          <h1 ref={heading} tabIndex={-1}>{entry.title}</h1>
          {entry.also.length > 0 && <p class="also">also {entry.also.join(", ")}</p>}
        </div>
      </header>
      <div class="columns">
        <div class="main">
          <Meaning entry={entry} />
          {entry.lacking && <p class="lacking">{said(entry.lacking)}</p>}
          {entry.figure && <LiveFigure figure={entry.figure} title={entry.title} />}
          <Traits entry={entry} />
          <Examples entry={entry} />
        </div>
        <Aside entry={entry} all={all} />
      </div>
      <Neighbours entry={entry} all={all} />
    </div>
  );
}

function said(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function toFigure(): void {
  const figure = document.getElementById("live");
  figure?.scrollIntoView({ block: "start" });
  figure?.focus({ preventScroll: true });
}

function Meaning({ entry }: { entry: Entry }) {
  const { formula, text } = entry;
  return (
    <section class="meaning" aria-label="what it is">
      <p class="gist">{entry.gist}</p>
      <div class="choices">
        <Choice label="Explained to" value={level.value} set={(one) => (level.value = one as Level)}
        options={LEVELS.map((one) => [one, one] as const)} />
        {entry.figure && <button type="button" onClick={toFigure}>Show me in this model</button>}
      </div>
      <div class="told" aria-live="polite" data-level={level.value}><Paragraphs text={text[level.value]} /></div>
      {formula && (
        <figure class="formula">
          <div class="maths" tabIndex={0} role="group" aria-label="formula" dangerouslySetInnerHTML={{ __html: formula.math }} />
          <figcaption><Prose text={formula.read[level.value]} /></figcaption>
        </figure>
      )}
    </section>
  );
}

function Traits({ entry }: { entry: Entry }) {
  return (
    <>
      <section class="traits">
        <h2>Key characteristics</h2>
        <ul>
          {entry.traits.map((one) => (
            <li key={one.text}><span><Prose text={one.text} /></span> <Proof to={one.link} /></li>
          ))}
        </ul>
      </section>
      <section class="uses">
        <h2>Used for</h2>
        <ul>{entry.uses.map((one) => <li key={one}><Prose text={one} /></li>)}</ul>
      </section>
    </>
  );
}

function Examples({ entry }: { entry: Entry }) {
  if (!entry.examples.length) return null;
  return (
    <section class="examples">
      <h2>Examples</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label="examples">
        <table>
          <thead>
            <tr><th scope="col">Name</th><th scope="col">Year</th><th scope="col">What</th><th scope="col">Source</th></tr>
          </thead>
          <tbody>
            {entry.examples.map((one) => (
              <tr key={one.name + one.year}>
                <th scope="row">{one.name}</th>
                <td>{one.year}</td>
                <td><Prose text={one.what} /></td>
                <td><Proof to={one.link} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Aside({ entry, all }: { entry: Entry; all: Entry[] }) {
  const open = useSignal<string | null>(null);
  return (
    <aside>
      {entry.code.length > 0 && (
        <section>
          <h2>In girih</h2>
          <ul>
            {entry.code.map((file) => (
              <li key={file}><button type="button" class="file" onClick={() => (open.value = file)}>{file.replace("girih/", "")}</button></li>
            ))}
          </ul>
        </section>
      )}
      {entry.related.length > 0 && (
        <section>
          <h2>Related</h2>
          <ul>
            {entry.related.map((id) => (
              <li key={id}><a href={entryLink(id)}>{all.find((one) => one.id === id)?.title}</a></li>
            ))}
          </ul>
        </section>
      )}
      <Source file={open} />
    </aside>
  );
}

function Neighbours({ entry, all }: { entry: Entry; all: Entry[] }) {
  const at = all.indexOf(entry);
  const [before, after] = [all[at - 1], all[at + 1]];
  return (
    <nav class="neighbours" aria-label="entries before and after">
      {before ? <a rel="prev" href={entryLink(before.id)}><span>Before</span>{before.title}</a> : <span />}
      {after ? <a rel="next" href={entryLink(after.id)}><span>After</span>{after.title}</a> : <span />}
    </nav>
  );
}
