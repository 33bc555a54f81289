/** Sliders, choices, switches: native controls with a name that is always read out. */

import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface SliderProps {
  label: string;
  value: { value: number };
  min: number;
  max: number;
  step?: number;
  /** Only these values, in order. */
  among?: readonly number[];
  text?: (value: number) => string;
  disabled?: boolean;
}

export function Slider({ label, value, min, max, step = 1, among, text, disabled }: SliderProps) {
  const id = useId();
  const now = value.value;
  const place = among ? Math.max(among.indexOf(now), 0) : now;
  const said = text ? text(now) : now.toLocaleString("en");
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{said}</output>
      <input
        id={id}
        type="range"
        min={among ? 0 : min}
        max={among ? among.length - 1 : max}
        step={among ? 1 : step}
        value={place}
        aria-valuetext={said}
        disabled={disabled}
        onInput={(event) => {
          const asked = Number(event.currentTarget.value);
          value.value = among ? among[asked]! : asked;
        }}
      />
    </div>
  );
}

interface SelectProps {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  set: (value: string) => void;
  /** The label is for screen readers alone. */
  bare?: boolean;
}

export function Select({ label, value, options, set, bare }: SelectProps) {
  const id = useId();
  return (
    <div class="select">
      <label for={id} class={bare ? "unseen" : undefined}>{label}</label>
      <select id={id} value={value} onChange={(event) => set(event.currentTarget.value)}>
        {options.map(([one, text]) => (
          <option key={one} value={one} selected={one === value}>{text}</option>
        ))}
      </select>
    </div>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  options: readonly (readonly [value: string, text: string])[];
  set: (value: string) => void;
}

/** A few options side by side. */
export function Choice({ label, value, options, set }: ChoiceProps) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend>{label}</legend>
      {options.map(([one, text]) => (
        <label key={one} class={one === value ? "on" : undefined}>
          <input type="radio" name={name} value={one} checked={one === value} onChange={() => set(one)} />
          {text}
        </label>
      ))}
    </fieldset>
  );
}

export function Switch({ label, value }: { label: string; value: Signal<boolean> }) {
  return (
    <label class="switch">
      <input type="checkbox" checked={value.value} onChange={(event) => (value.value = event.currentTarget.checked)} />
      {label}
    </label>
  );
}

/** Controls of a figure, in one quiet row. */
export function Controls({ children }: { children: ComponentChildren }) {
  return <div class="controls">{children}</div>;
}
