// build: src/ -> ../static, with the digests of what it was made from. test: runs tests/ in node.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const PAGES = ["label", "join", "owner"];
const ALSO = ["build.mjs", "package.json", "package-lock.json"];

const tasks = { build, test };
const task = tasks[process.argv[2] ?? "build"];
if (task === undefined) {
  throw new Error(`node build.mjs [${Object.keys(tasks).join("|")}] [folder], got ${process.argv[2]}`);
}
await task(process.argv[3]);

/** Writes scripts, style sheet and icon into `folder`. */
async function build(folder = join(here, "..", "static")) {
  await esbuild.build({
    absWorkingDir: here,
    entryPoints: [
      ...PAGES.map((name) => `src/${name}.ts`).filter((path) => existsSync(join(here, path))),
      "src/style.css",
    ],
    outdir: folder,
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022", "chrome111", "firefox113", "safari16.4"],
    legalComments: "none",
    logLevel: "warning",
  });
  writeFileSync(join(folder, "icon.svg"), readFileSync(join(here, "src", "icon.svg")));
  writeFileSync(join(folder, "sources.sha256"), digests());
}

/** "digest  path" of every source, as sha256sum writes it; a test compares it where there is no node. */
function digests() {
  const sources = readdirSync(join(here, "src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(here, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join("/"));
  return [...sources, ...ALSO]
    .sort()
    .map((path) => `${createHash("sha256").update(readFileSync(join(here, path))).digest("hex")}  ${path}\n`)
    .join("");
}

/** Bundles each test file, since this node may not read TypeScript, and runs them all. */
async function test() {
  const folder = mkdtempSync(join(here, "node_modules", ".tests-"));
  try {
    await esbuild.build({
      absWorkingDir: here,
      entryPoints: readdirSync(join(here, "tests"))
        .filter((name) => name.endsWith(".test.ts"))
        .map((name) => `tests/${name}`),
      outdir: folder,
      outExtension: { ".js": ".mjs" },
      bundle: true,
      platform: "node",
      format: "esm",
      sourcemap: "inline",
      logLevel: "warning",
    });
    const files = readdirSync(folder).map((name) => join(folder, name));
    const ran = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
    process.exitCode = ran.status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
