/** What a sentence rests on: a figure to open, a test to run, a paper to read. */

import { link } from "../app/url.ts";
import { views } from "../views/index.ts";
import type { Link } from "./types.ts";

export function Proof({ to }: { to: Link }) {
  switch (to.to) {
    case "figure": {
      const view = views.find((one) => one.id === to.view);
      return view ? <a class="rests" href={link({ v: to.view, ...to.with })}>see {view.title}</a> : null;
    }
    case "test":
      return (
        <details class="rests">
          <summary>tested</summary>
          <code>python -m pytest tests/{to.file} -k {to.name}</code>
        </details>
      );
    case "arxiv":
      return <Away href={`https://arxiv.org/abs/${to.id}`} text={`${to.text}, arXiv ${to.id}`} />;
    case "page":
      return <Away href={to.href} text={to.text} />;
  }
}

function Away({ href, text }: { href: string; text: string }) {
  return <a class="rests away" href={href} rel="noopener noreferrer" target="_blank">{text}<span class="unseen"> (another site)</span></a>;
}
