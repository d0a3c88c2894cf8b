// Bundles the extension into one file, and the tests into one each.
import { readdirSync } from "node:fs";
import { build } from "esbuild";

const common = { bundle: true, platform: "node", format: "cjs", target: "node20", logLevel: "warning" };
await build({
  ...common,
  entryPoints: ["src/extension.ts"],
  outfile: "dist/extension.js",
  external: ["vscode"],
  minify: true,
});
await build({
  ...common,
  entryPoints: readdirSync("test").map((name) => `test/${name}`),
  outdir: "dist/test",
});
