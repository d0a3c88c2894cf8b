// What the extension decides without VS Code.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { rowsOf } from "../src/explanation.js";
import {
  ASK_VERSION,
  Surroundings,
  bundledWheel,
  environmentIn,
  findServer,
  installSteps,
  modelStep,
  programIn,
} from "../src/locating.js";
import { serverOptions, toggled } from "../src/settings.js";
import { statusLine } from "../src/status.js";

function surroundings(changes: Partial<Surroundings> = {}): Surroundings {
  const storage = mkdtempSync(join(tmpdir(), "codefilter-"));
  return { configured: "", storage, path: "", platform: "linux", ...changes };
}

function program(path: string): string {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, "");
  chmodSync(path, 0o755);
  return path;
}

test("the server is the configured one, else the extension's own, else the one on the PATH", () => {
  const folder = mkdtempSync(join(tmpdir(), "path-"));
  const around = surroundings({ path: `relative:./:${folder}` });
  assert.equal(findServer(around), undefined);
  const onPath = program(join(folder, "codefilter-lsp"));
  assert.equal(findServer(around), onPath);
  const own = program(programIn(environmentIn(around.storage), "codefilter-lsp", "linux"));
  assert.equal(findServer(around), own);
  assert.equal(findServer({ ...around, configured: "/mine" }), "/mine");
});

test("a folder that depends on the open project is not searched", () => {
  const folder = mkdtempSync(join(tmpdir(), "project-"));
  program(join(folder, "codefilter-lsp"));
  const here = process.cwd();
  process.chdir(folder);
  try {
    assert.equal(findServer(surroundings({ path: ".:bin:" })), undefined);
  } finally {
    process.chdir(here);
  }
});

test("installation makes an environment of its own and installs the wheel that came along", () => {
  const extension = mkdtempSync(join(tmpdir(), "extension-"));
  assert.equal(bundledWheel(extension), undefined);
  const wheel = program(join(extension, "server", "codefilter-0.1.0-py3-none-any.whl"));
  assert.equal(bundledWheel(extension), wheel);
  const around = surroundings();
  const steps = installSteps("/usr/bin/python3.11", wheel, around);
  assert.deepEqual(steps[0]?.program.args, ["-I", "-m", "venv", environmentIn(around.storage)]);
  program(join(environmentIn(around.storage), "pyvenv.cfg")); // of an environment whose Python is gone
  const again = installSteps("/usr/bin/python3.11", wheel, around);
  assert.deepEqual(again[0]?.program.args, ["-I", "-m", "venv", "--clear", environmentIn(around.storage)]);
  assert.equal(steps.at(-1)?.program.args.at(-1), `${wheel}[cpu]`);
  assert.equal(modelStep(around, null), undefined);
  program(programIn(environmentIn(around.storage), "codefilter", "linux"));
  assert.deepEqual(modelStep(around, null)?.program.args, ["models", "pull"]);
});

test("the model of the settings is downloaded, where it is a name", () => {
  const around = surroundings();
  program(programIn(environmentIn(around.storage), "codefilter", "linux"));
  const pulled = (model: string) => modelStep(around, model)?.program.args.slice(2);
  for (const name of ["smollm2-135m", "owner/model-0.5b"]) {
    assert.deepEqual(pulled(name), [name]);
  }
  for (const other of ["", "/models/mine", "~/mine", "./mine", "C:\\mine", "remote:http://127.0.0.1:1/", "--help"]) {
    assert.deepEqual(pulled(other), [], other);
  }
});

test("asking a Python for its version runs nothing of the open project", () => {
  const project = mkdtempSync(join(tmpdir(), "project-"));
  writeFileSync(join(project, "venv.py"), "open('was-run', 'w').close()\n");
  const answer = spawnSync("python3", ASK_VERSION, { cwd: project, encoding: "utf8" });
  assert.match(answer.stdout, /^(True|False)\s*$/);
  assert.ok(!existsSync(join(project, "was-run")));
});

test("the server is told what is set and what is no longer, and nothing of the extension's own", () => {
  const section = { enabled: true, maxLines: null, filter: "none", server: { path: "/x" } };
  assert.deepEqual(serverOptions(section), { enabled: true, maxLines: null, filter: "none" });
  assert.deepEqual(serverOptions(undefined), {});
});

test("languages are switched one by one", () => {
  assert.deepEqual(toggled({ "*": true }, "go"), { "*": true, go: false });
  assert.deepEqual(toggled({ "*": false }, "go"), { "*": false, go: true });
  assert.deepEqual(toggled({ go: false }, "go"), { go: true });
});

test("the status bar shows what goes on", () => {
  assert.match(statusLine({ busy: true, kind: "Normal", message: "m" }).text, /loading/);
  assert.equal(statusLine({ busy: false, kind: "Normal", message: "ready" }).tooltip, "CodeFilter: ready");
  assert.match(statusLine({ busy: false, kind: "Inactive", message: "" }).text, /circle-slash/);
  assert.ok(statusLine({ busy: false, kind: "Error", message: "" }).background);
});

test("every chunk has a row with its verdict", () => {
  const place = { path: "a.py", start_line: 3, end_line: 9, symbol: "f", text: "t" };
  const chunk = { ...place, id: "1", polarity: "positive", confidence: 1, impact_nats: null };
  const explanation = {
    id: "1",
    place: "b.py:4",
    uri: "file:///b.py",
    texts: ["x"],
    summary: "1 characters; 2 retrieved, 1 dropped",
    reason: "",
    seconds: 0.5,
    stage_seconds: { retrieve: 0.1 },
    chunks: [
      { ...chunk, in_prompt: true, keep: true, reason: "helps" },
      { ...chunk, in_prompt: false, keep: false, reason: "does not" },
    ],
  };
  const rows = rowsOf(explanation);
  assert.deepEqual(rows.map((row) => row.icon), ["sparkle", "check", "close", "clock"]);
  assert.equal(rows[1]?.label, "a.py:3-9");
  assert.equal(rows[2]?.description, "f · dropped · does not");
  const [used, dropped] = explanation.chunks;
  assert.ok(used && dropped);
  const measured = rowsOf({ ...explanation, chunks: [{ ...used, impact_nats: -0.5 }, { ...dropped, impact_nats: 1 }] });
  assert.equal(measured[1]?.description, "+1.00 nats · f · dropped · does not"); // the best first
  assert.equal(measured[2]?.description, "−0.50 nats · f · used · helps");
});

test("a workspace cannot set what runs, what is loaded and what is contacted", () => {
  const manifest = JSON.parse(readFileSync(join(process.cwd(), "package.json"), "utf8"));
  const properties: Record<string, { scope?: string }> = manifest.contributes.configuration.properties;
  for (const name of ["model", "engine", "device", "server.path", "server.arguments"]) {
    assert.equal(properties[`codefilter.${name}`]?.scope, "machine", name);
    assert.ok(manifest.capabilities.untrustedWorkspaces.restrictedConfigurations.includes(`codefilter.${name}`));
  }
});
