/** Puts `reference.json.gz` beside the page when it is built, and serves it while one works on it. */

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";
import { compile, type Known, written } from "./compile.ts";

/** What there is in the repository around this folder. */
export function found(ui: string): { pages: Record<string, string>; known: Known } {
  const folder = join(ui, "reference");
  const files = readdirSync(folder).filter((one) => one.endsWith(".md")).sort();
  const root = join(ui, "..");
  const read = (path: string) => (existsSync(path) ? readFileSync(path, "utf8") : "");
  return {
    pages: Object.fromEntries(files.map((one) => [one, read(join(folder, one))])),
    known: {
      views: readdirSync(join(ui, "src/views"), { withFileTypes: true })
        .filter((one) => one.isDirectory())
        .map((one) => one.name),
      exists: (path) => existsSync(join(root, path)),
      tests: (file, name) => read(join(root, "tests", file)).includes(`def ${name}(`),
    },
  };
}

export function reference(ui: string): Plugin {
  const made = () => {
    const { pages, known } = found(ui);
    return gzipSync(written(compile(pages, known)), { level: 9 });
  };
  return {
    name: "girih-reference",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: "reference.json.gz", source: made() });
    },
    configureServer(server) {
      server.middlewares.use("/reference.json.gz", (_, answer) => {
        answer.setHeader("Content-Type", "application/gzip");
        answer.end(made());
      });
    },
  };
}
