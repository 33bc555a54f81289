import { defineConfig } from "vite";
import { reference } from "./scripts/plugin.ts";

// One bundle with fixed names: the exported page inlines it, and a rebuild gives the same bytes.
export default defineConfig({
  base: "./",
  plugins: [reference(import.meta.dirname)],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: process.env["GIRIH_UI_OUT"] ?? "../src/girih/explore/_ui",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    cssCodeSplit: false,
    assetsDir: "",
    rolldownOptions: {
      output: {
        codeSplitting: false,
        entryFileNames: "app.js",
        assetFileNames: "app.[ext]",
      },
    },
  },
  server: { proxy: { "/api": process.env["GIRIH_SERVER"] ?? "http://127.0.0.1:7420" } },
});
