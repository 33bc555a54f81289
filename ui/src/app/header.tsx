/** The header: where one is, which model is looked at, who reads. */

import { useSignal } from "@preact/signals";
import { Select } from "../parts/controls.tsx";
import { views } from "../views/index.ts";
import { asked, LEVELS, level, model, models, route, theme, units, type Level } from "./session.ts";
import { Keys } from "./keys.tsx";
import { Share } from "./share.tsx";
import { link } from "./url.ts";

/** The star of the five tiles. */
export function Star({ size = 28 }: { size?: number }) {
  return (
    <svg class="star" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <path d="M16 2l4 8 9 1-5 7 3 9-9-3-2 6-2-6-9 3 3-9-5-7 9-1z" />
      <path class="core" d="M16 10l5.7 4.1-2.2 6.7h-7l-2.2-6.7z" />
    </svg>
  );
}

export function Header() {
  const open = useSignal(false);
  const list = models.value?.models ?? [];
  const chosen = list.map((one) => [one.id, one.label] as const);
  return (
    <header class="top">
      <a class="brand" href={link({ v: "start" })}><Star />girih</a>
      <div class="top-model">
        {list.length > 0 && (
          <Select label="Model" bare value={model.value} options={chosen} set={(id) => (asked.value = id)} />
        )}
      </div>
      <button type="button" class="menu-button" aria-expanded={open.value} aria-controls="menu"
        onClick={() => (open.value = !open.value)}>Menu</button>
      <div class={open.value ? "tools open" : "tools"} id="menu">
        <nav class="menu-views" aria-label="all views" onClick={() => (open.value = false)}>
          {views.map((one) => (
            <a key={one.id} href={link({ v: one.id })} aria-current={one.id === route.value ? "page" : undefined}>{one.title}</a>
          ))}
        </nav>
        <Select label="Reader" value={level.value} options={LEVELS.map((one) => [one, one] as const)}
          set={(one) => (level.value = one as Level)} />
        <Select label="Units" bare value={units.value} options={[["MiB", "MiB"], ["MB", "MB"]]}
          set={(one) => (units.value = one as "MiB" | "MB")} />
        <Select label="Theme" bare value={theme.value}
          options={[["auto", "auto"], ["light", "light"], ["dark", "dark"]]}
          set={(one) => (theme.value = one as "auto" | "light" | "dark")} />
        <Share />
        <Keys />
      </div>
    </header>
  );
}
