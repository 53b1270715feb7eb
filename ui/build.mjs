// Bundles the scripts into one file. The styles that the chart library needs stand in our own style sheet,
// because the policy of the pages allows no other.
import { build } from "esbuild";

await build({
  entryPoints: ["src/app.ts"],
  outfile: "dist/app.js",
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2020",
  legalComments: "inline",
});
