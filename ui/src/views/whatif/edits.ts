/** Changes of a spec, and the fields that can be changed. */

import type { BranchInfo } from "../../data/types.ts";

export interface Edit {
  path: string;
  value: unknown;
}

export interface Field {
  /** Inside the mixer, as `mask.left`. */
  name: string;
  value: number | string | boolean;
}

/** The plain values inside a mixer, in order; its kind is not one of them. */
export function fields(mixer: Record<string, unknown>, before = ""): Field[] {
  const out: Field[] = [];
  for (const [name, value] of Object.entries(mixer)) {
    if (name === "type") continue;
    if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") {
      out.push({ name: before + name, value });
    } else if (Array.isArray(value)) {
      value.forEach((one, at) => {
        if (typeof one === "number") out.push({ name: `${before}${name}[${at}]`, value: one });
      });
    } else if (value && typeof value === "object") {
      out.push(...fields(value as Record<string, unknown>, `${before}${name}.`));
    }
  }
  return out;
}

/** Where a field of a branch is in every layer that has such a branch. */
export function everywhere(branch: BranchInfo, name: string): string {
  return branch.at.replace(/layers\[\d+\]\.branches\[\d+\]/, `layers[*].branches[${branch.name}]`) + `.${name}`;
}

/** What was typed, as the kind of value that stood there. */
export function typed(text: string, before: Field["value"]): unknown {
  if (typeof before === "boolean") return text === "true";
  if (typeof before === "number" && text.trim() !== "" && Number.isFinite(Number(text))) return Number(text);
  return text;
}

/** The edits with one more; the same place is edited once, and its first value undoes it. */
export function changed(edits: readonly Edit[], path: string, value: unknown, before: unknown): Edit[] {
  const rest = edits.filter((one) => one.path !== path);
  return value === before ? rest : [...rest, { path, value }];
}

/** Edits as they are in an address; what cannot be read there is none. */
export function parsed(text: string): Edit[] {
  try {
    const found = JSON.parse(text) as unknown;
    if (!Array.isArray(found)) return [];
    return found.filter((one): one is Edit => typeof (one as Edit)?.path === "string" && "value" in (one as Edit));
  } catch {
    return [];
  }
}

/** Whether an error at one path belongs to a field at another: `[*]` and names match any index. */
export function concerns(error: string | null, path: string): boolean {
  if (!error) return false;
  const plain = (text: string) => text.replace(/\[[^\]]*\]/g, "[]");
  return plain(error) === plain(path) || plain(path).startsWith(`${plain(error)}.`);
}

/** What is wrong, at the field itself, where its path need not be said. */
export function withoutPath(error: string): string {
  return error.replace(/^\$[^\s:]*:\s*/, "");
}
