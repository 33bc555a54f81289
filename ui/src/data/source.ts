/** Where the page gets everything from: the server, or a recording of what it said. */

import { decode, type Packed } from "./tile.ts";
import type { RunEvent, Tile } from "./types.ts";

export class Refused extends Error {
  readonly path: string | null;
  readonly status: number;

  constructor(message: string, path: string | null = null, status = 0) {
    super(message);
    this.path = path;
    this.status = status;
  }
}

export interface DataSource {
  readonly recorded: Recorded | null;
  /** One JSON answer; throws Refused with the server's line. */
  json<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T>;
  /** A JSON file that is stored compressed. */
  packed<T>(path: string): Promise<T>;
  /** A text file. */
  text(path: string): Promise<string>;
  /** The events of a run, in order, as they come. */
  stream(path: string, body: unknown, event: (one: RunEvent) => void, stop?: AbortSignal): Promise<void>;
  /** An array; the query names run, kind, layer and so on. */
  tile(query: Record<string, string | number | null | undefined>): Promise<Tile>;
}

export interface Recorded {
  machine: string;
  date: string;
  hash: string;
}

export type Kept = { json: unknown } | { text: string } | Packed;
export type Responses = Record<string, Kept>;

const MOST_KEPT = 8 * 2 ** 20;

export function keyOf(method: string, path: string, body?: unknown): string {
  return `${method} ${path}${body === undefined ? "" : ` ${JSON.stringify(body)}`}`;
}

export function tilePath(query: Record<string, string | number | null | undefined>): string {
  const words = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  return `api/tile?${new URLSearchParams(words.map(([name, value]) => [name, String(value)]))}`;
}

async function refusal(answer: Response): Promise<Refused> {
  const said = await answer.text();
  try {
    const { error, path } = JSON.parse(said) as { error: string; path?: string | null };
    return new Refused(error, path ?? null, answer.status);
  } catch {
    return new Refused(said.trim() || `the server answers ${answer.status}`, null, answer.status);
  }
}

/** The server on this machine; what it says is remembered for an export. */
export class Live implements DataSource {
  readonly recorded = null;
  readonly kept = new Map<string, { value: Kept; size: number }>();
  private size = 0;

  private keep(key: string, value: Kept, size: number): void {
    this.size += size - (this.kept.get(key)?.size ?? 0);
    this.kept.delete(key);
    this.kept.set(key, { value, size });
    for (const [old, { size: freed }] of this.kept) {
      if (this.size <= MOST_KEPT) break;
      this.kept.delete(old);
      this.size -= freed;
    }
  }

  private async ask(method: string, path: string, body?: unknown, stop?: AbortSignal): Promise<Response> {
    const asked: RequestInit = { method };
    if (stop) asked.signal = stop;
    if (body !== undefined) {
      asked.body = JSON.stringify(body);
      asked.headers = { "Content-Type": "application/json" };
    }
    let answer: Response;
    try {
      answer = await fetch(path, asked);
    } catch (error) {
      if (stop?.aborted) throw error;
      throw new Refused("girih does not answer; is it still running in its terminal?");
    }
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }

  async json<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T> {
    const said = await (await this.ask(method, path, body)).text();
    const value = JSON.parse(said) as T;
    this.keep(keyOf(method, path, body), { json: value }, said.length);
    return value;
  }

  /** Not remembered: an export brings its own. */
  async packed<T>(path: string): Promise<T> {
    const whole = (await this.ask("GET", path)).body!.pipeThrough(new DecompressionStream("gzip"));
    return (await new Response(whole).json()) as T;
  }

  async text(path: string): Promise<string> {
    const text = await (await this.ask("GET", path)).text();
    this.keep(keyOf("GET", path), { text }, text.length);
    return text;
  }

  async stream(
    path: string,
    body: unknown,
    event: (one: RunEvent) => void,
    stop?: AbortSignal,
  ): Promise<void> {
    const answer = await this.ask("POST", path, body, stop);
    const events: RunEvent[] = [];
    const words = new TextDecoder();
    let rest = "";
    let size = 0;
    const take = (line: string) => {
      if (!line) return;
      size += line.length;
      const one = JSON.parse(line) as RunEvent;
      events.push(one);
      event(one);
    };
    try {
      const reader = answer.body!.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + words.decode(part.value, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        lines.forEach(take);
      }
      take(rest);
    } catch (error) {
      if (!stop?.aborted) throw new Refused("the run broke off; girih may have stopped");
    } finally {
      this.keep(keyOf("POST", path, body), { json: events }, size);
    }
  }

  /** What comes back as a file; not remembered. */
  async sent(path: string, body: unknown): Promise<Blob> {
    return (await this.ask("POST", path, body)).blob();
  }

  async tile(query: Record<string, string | number | null | undefined>): Promise<Tile> {
    const path = tilePath(query);
    const answer = await this.ask("GET", path);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const head = JSON.parse(answer.headers.get("X-Tile") ?? "{}");
    const packed = { tile: head, bytes };
    this.keep(keyOf("GET", path), packed, Math.ceil(bytes.length * 1.34));
    return decode(packed);
  }
}

/** A recording that came with the page: it says what was asked then, and nothing else. */
export class Recording implements DataSource {
  readonly recorded: Recorded;
  private readonly responses: Responses;

  constructor(recorded: Recorded, responses: Responses) {
    this.recorded = recorded;
    this.responses = responses;
  }

  private find(key: string): Kept {
    const found = this.responses[key];
    if (!found) throw new Refused("this was not recorded; run girih explore to ask a live model");
    return found;
  }

  async json<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T> {
    return (this.find(keyOf(method, path, body)) as { json: T }).json;
  }

  async packed<T>(path: string): Promise<T> {
    return (this.find(keyOf("GET", path)) as { json: T }).json;
  }

  async text(path: string): Promise<string> {
    return (this.find(keyOf("GET", path)) as { text: string }).text;
  }

  async stream(path: string, body: unknown, event: (one: RunEvent) => void): Promise<void> {
    const events = (this.find(keyOf("POST", path, body)) as { json: RunEvent[] }).json;
    events.forEach(event);
  }

  async tile(query: Record<string, string | number | null | undefined>): Promise<Tile> {
    return decode(this.find(keyOf("GET", tilePath(query))) as Packed);
  }
}

function found(): DataSource {
  const held = globalThis.document?.getElementById("recorded");
  if (!held?.textContent) return new Live();
  const { recorded, responses } = JSON.parse(held.textContent) as {
    recorded: Recorded;
    responses: Responses;
  };
  // The view that was saved, unless the address asks for another.
  if (!location.hash && recorded.hash) history.replaceState(null, "", recorded.hash);
  return new Recording(recorded, responses);
}

export const source: DataSource = found();
