// Microsoft's own protocol library drives the server over stdio, with a model that copies.
//
// CODEFILTER_PYTHON names the Python that has the server (default: python3).

import assert from "node:assert/strict";
import { ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import {
  CancellationTokenSource,
  CompletionRequest,
  ConfigurationRequest,
  DidChangeTextDocumentNotification,
  DidOpenTextDocumentNotification,
  ExecuteCommandRequest,
  ExitNotification,
  InitializeRequest,
  InitializedNotification,
  InlineCompletionList,
  InlineCompletionRequest,
  InlineCompletionTriggerKind,
  LSPErrorCodes,
  LogMessageNotification,
  ProtocolConnection,
  RegistrationRequest,
  ResponseError,
  ShutdownRequest,
  StreamMessageReader,
  StreamMessageWriter,
  createProtocolConnection,
} from "vscode-languageserver-protocol/node";

const TEXT = "width = compute_width(box)\nother = compute_w";
const AT_END = { line: 1, character: 17 };

let server: ChildProcess;
let connection: ProtocolConnection;
let uri: string;
let settings: Record<string, unknown> = {};
const statuses: { busy: boolean; message: string }[] = [];

before(async () => {
  const folder = mkdtempSync(join(tmpdir(), "codefilter-project-"));
  writeFileSync(join(folder, "there.py"), "def zebra_crossing(lanes):\n    return lanes\n");
  uri = pathToFileURL(join(folder, "here.py")).toString();
  const python = process.env["CODEFILTER_PYTHON"] ?? "python3";
  server = spawn(python, ["-m", "codefilter_lsp", "--stdio"], { stdio: ["pipe", "pipe", "inherit"] });
  assert.ok(server.stdout && server.stdin);
  connection = createProtocolConnection(
    new StreamMessageReader(server.stdout),
    new StreamMessageWriter(server.stdin),
  );
  connection.onRequest(ConfigurationRequest.type, (params) => params.items.map(() => settings));
  connection.onRequest(RegistrationRequest.type, () => undefined);
  connection.onNotification("didChangeStatus", (status) => void statuses.push(status));
  connection.listen();
  const result = await connection.sendRequest(InitializeRequest.type, {
    processId: process.pid,
    rootUri: null,
    workspaceFolders: [{ uri: pathToFileURL(folder).toString(), name: "project" }],
    initializationOptions: { model: "fake:prompt_ms=1,token_ms=5", statusNotifications: true, debounceMs: 0 },
    capabilities: {
      workspace: { configuration: true, workspaceFolders: true, executeCommand: {} },
      textDocument: { inlineCompletion: { dynamicRegistration: true } },
      general: { positionEncodings: ["utf-16"] },
    },
  });
  assert.ok(result.capabilities.inlineCompletionProvider);
  assert.equal(result.capabilities.positionEncoding, "utf-16");
  assert.ok(result.capabilities.executeCommandProvider?.commands.includes("codefilter.accept"));
  await connection.sendNotification(InitializedNotification.type, {});
  await connection.sendNotification(DidOpenTextDocumentNotification.type, {
    textDocument: { uri, languageId: "python", version: 1, text: TEXT },
  });
});

after(async () => {
  await connection.sendRequest(ShutdownRequest.type);
  await connection.sendNotification(ExitNotification.type);
  const code = await new Promise((resolve) => server.on("exit", resolve));
  connection.dispose();
  assert.equal(code, 0);
});

async function inline(line = AT_END.line, character = AT_END.character): Promise<InlineCompletionList> {
  const found = await connection.sendRequest(InlineCompletionRequest.type, {
    textDocument: { uri },
    position: { line, character },
    context: { triggerKind: InlineCompletionTriggerKind.Automatic },
  });
  assert.ok(found && "items" in found);
  return found;
}

test("the place where the cursor rests is read before anybody asks", { timeout: 60_000 }, async () => {
  const said: string[] = [];
  const listening = connection.onNotification(LogMessageNotification.type, ({ message }) => void said.push(message));
  try {
    while (!said.some((message) => message.includes("here.py: read ahead"))) {
      await connection.sendNotification("codefilter/didRest", { textDocument: { uri }, position: AT_END });
      await new Promise((resolve) => setTimeout(resolve, 500)); // the model is loaded, the folder indexed
    }
  } finally {
    listening.dispose();
  }
});

test("a completion is shown, and accepted by its command", async () => {
  const [item] = (await inline()).items;
  assert.equal(item?.insertText, "idth(box)");
  assert.deepEqual(item?.range, { start: AT_END, end: AT_END });
  assert.ok(item.command);
  const { command, arguments: args } = item.command;
  assert.equal(await connection.sendRequest(ExecuteCommandRequest.type, { command, arguments: args ?? [] }), null);
  const explanation = await connection.sendRequest(ExecuteCommandRequest.type, { command: "codefilter.explain" });
  assert.equal(explanation.texts[0], "idth(box)");
  const asked = { command: "codefilter.attribute", arguments: [explanation.id, { show: false }] };
  const impacts = await connection.sendRequest(ExecuteCommandRequest.type, asked);
  assert.deepEqual(Object.keys(impacts), explanation.chunks.map((chunk: { id: string }) => chunk.id));
  assert.ok(statuses.some((status) => status.message.startsWith("9 characters")));
});

test("a cancelled request is answered as cancelled", async () => {
  await connection.sendNotification(DidChangeTextDocumentNotification.type, {
    textDocument: { uri, version: 2 },
    contentChanges: [{ text: `${"# filling, so that reading takes a while\n".repeat(100)}${TEXT}` }],
  });
  const source = new CancellationTokenSource();
  const request = connection.sendRequest(
    InlineCompletionRequest.type,
    {
      textDocument: { uri },
      position: { line: 101, character: 17 },
      context: { triggerKind: InlineCompletionTriggerKind.Automatic },
    },
    source.token,
  );
  setTimeout(() => source.cancel(), 300);
  await assert.rejects(request, (error: ResponseError<void>) => error.code === LSPErrorCodes.RequestCancelled);
});

test("a method that the server does not offer is refused, not dropped", async () => {
  await assert.rejects(
    connection.sendRequest(CompletionRequest.type, { textDocument: { uri }, position: AT_END }),
  );
});

test("settings are followed at run time", async () => {
  await connection.sendNotification(DidChangeTextDocumentNotification.type, {
    textDocument: { uri, version: 3 },
    contentChanges: [{ text: TEXT }],
  });
  settings = { enabled: false };
  await connection.sendNotification("workspace/didChangeConfiguration", { settings: null });
  const deadline = Date.now() + 10_000;
  let status = { kind: "" };
  while (status.kind !== "Inactive" && Date.now() < deadline) {
    status = await connection.sendRequest(ExecuteCommandRequest.type, { command: "codefilter.status" });
  }
  assert.deepEqual((await inline()).items, []);
});
