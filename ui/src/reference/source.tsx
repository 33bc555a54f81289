/** A file of girih, in a panel over the page. */

import type { Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { source } from "../data/source.ts";
import { Failed, useAsked, Waiting } from "../parts/figure.tsx";

export function Source({ file }: { file: Signal<string | null> }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const name = file.value;
  useEffect(() => {
    if (name) dialog.current?.showModal();
    else dialog.current?.close();
  }, [name]);
  return (
    <dialog ref={dialog} class="source" aria-label={name ?? "source"} onClose={() => (file.value = null)}>
      {name && (
        <>
          <header>
            <h2>{name}</h2>
            <button type="button" onClick={() => (file.value = null)}>Close</button>
          </header>
          <Code key={name} file={name} />
        </>
      )}
    </dialog>
  );
}

function Code({ file }: { file: string }) {
  const { value, error } = useAsked(() => source.text(`api/source?file=${encodeURIComponent(file)}`), [file]);
  if (error) return <Failed error={error} />;
  if (value === null) return <Waiting text="Reading the file." />;
  return <pre tabIndex={0} role="region" aria-label={`source of ${file}`}><code>{value}</code></pre>;
}
