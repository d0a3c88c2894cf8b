// The page: an editor whose inline completions come from the language server, and what they were made from.
"use strict";

const STAGES = {
  "in-file": "#7d8fa3",
  retrieve: "#2f5fb3",
  filter: "#8a4fbf",
  prompt: "#c98a1b",
  read: "#1a7f4b",
  write: "#4fb38a",
};
const LANGUAGES = { py: "python", js: "javascript", ts: "typescript", go: "go", rs: "rust", java: "java", c: "c", h: "c" };
Object.assign(LANGUAGES, { cpp: "cpp", hpp: "cpp", cc: "cpp", cs: "csharp", md: "markdown", json: "json", html: "html" });
Object.assign(LANGUAGES, { css: "css", yml: "yaml", yaml: "yaml", jsx: "javascript", tsx: "typescript", sh: "shell" });
const MEASURED = "Bars: nats per token of the text above that each chunk alone adds to no chunk at all.";
const STATUS_MS = 700;
const ACCEPTED = "codefilter.accepted";

const byId = (id) => document.getElementById(id);
let editor;
let path = null;
let shown = null; // what the server said about the last completion
let impacts = {};

async function ask(name, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  const answer = await fetch(name, options);
  const value = await answer.json();
  if (!answer.ok) {
    throw new Error(value.error ?? `${name}: ${answer.status}`);
  }
  return value;
}

// --- the editor ---

function loadEditor() {
  // The bundle is an AMD module and hands out the editor's API only to a page that has a `define`.
  window.process = { env: {} };
  window.define = Object.assign((_, factory) => factory({}), { amd: true });
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "monaco/trame-code.umd.js";
    script.onload = () => {
      window.MonacoEnvironment = { getWorker: () => new Worker("monaco/editor.worker.bundle.js") };
      resolve();
    };
    script.onerror = () => reject(new Error("the editor could not be loaded"));
    document.head.append(script);
  });
}

function makeEditor() {
  editor = monaco.editor.create(byId("editor"), {
    value: "",
    automaticLayout: true,
    fontSize: 14,
    minimap: { enabled: false },
    inlineSuggest: { enabled: true },
    quickSuggestions: false,
    suggestOnTriggerCharacters: false,
    wordBasedSuggestions: "off",
    scrollBeyondLastLine: false,
    tabSize: 4,
  });
  monaco.languages.registerInlineCompletionsProvider({ pattern: "**" }, { provideInlineCompletions, freeInlineCompletions() {} });
  monaco.editor.registerCommand(ACCEPTED, (_, command) => void ask("accept", { command }).catch(complain));
  const chord = monaco.KeyMod.Alt | monaco.KeyCode.Backslash;
  editor.addAction({ id: "codefilter.several", label: "Several completions", keybindings: [chord], run: askForSeveral });
}

async function provideInlineCompletions(model, position, context) {
  if (path === null) {
    return { items: [] };
  }
  const explicit = context.triggerKind === monaco.languages.InlineCompletionTriggerKind.Explicit;
  const place = { line: position.lineNumber - 1, character: position.column - 1 };
  const text = model.getValue(monaco.editor.EndOfLinePreference.LF);
  const answer = await ask("complete", { path, text, ...place, explicit }).catch(complain);
  if (!answer || answer.is_superseded) {
    return { items: [] };
  }
  if (answer.explanation) {
    show(answer.explanation);
  }
  const here = new monaco.Range(position.lineNumber, position.column, position.lineNumber, position.column);
  const items = answer.items.map((item) => ({
    insertText: item.insertText,
    range: here,
    command: { id: ACCEPTED, title: "Accepted", arguments: [item.command] },
  }));
  return { items };
}

function askForSeveral() {
  editor.focus();
  editor.trigger("playground", "editor.action.inlineSuggest.trigger", {});
}

async function open(wanted) {
  const { text } = await ask("open", { path: wanted });
  path = wanted;
  byId("files").value = wanted;
  const language = LANGUAGES[wanted.split(".").pop()] ?? "plaintext";
  editor.getModel()?.dispose();
  editor.setModel(monaco.editor.createModel(text, language));
  editor.focus();
}

// --- what the completion was made from ---

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  Object.assign(made, attributes);
  made.append(...children);
  return made;
}

function show(explanation) {
  if (shown?.id !== explanation.id) {
    impacts = {};
  }
  shown = explanation;
  const head = element("div", { className: "place", textContent: explanation.place });
  const facts = [explanation.summary, `answered in ${explanation.seconds.toFixed(2)} s`];
  if (explanation.prompt_tokens) {
    facts.push(`prompt of ${explanation.prompt_tokens} tokens, ${explanation.cross_file_tokens} of other files`);
  }
  const said = element("p", { className: "hint", textContent: facts.join(" · ") });
  const texts = explanation.texts.map((text) => element("pre", { textContent: text }));
  byId("summary").replaceChildren(head, said, ...texts);
  showStages(explanation.stage_seconds ?? {});
  byId("measure").disabled = explanation.chunks.length === 0;
  showChunks();
}

function showStages(seconds) {
  const total = Object.values(seconds).reduce((sum, value) => sum + value, 0);
  const bar = element("div", { className: "bar" });
  const legend = element("div", { className: "legend" });
  for (const [stage, value] of Object.entries(seconds)) {
    const part = element("span", { title: `${stage} ${value.toFixed(3)} s` });
    part.style.width = `${(100 * value) / (total || 1)}%`;
    part.style.background = STAGES[stage] ?? "#999";
    bar.append(part);
    const colour = element("i");
    colour.style.background = STAGES[stage] ?? "#999";
    legend.append(element("span", {}, colour, `${stage} ${value.toFixed(2)} s`));
  }
  byId("stages").replaceChildren(...(total ? [bar, legend] : []));
}

function showChunks() {
  const largest = Math.max(0.05, ...Object.values(impacts).map(Math.abs));
  const chunks = [...shown.chunks].sort((a, b) => (impacts[b.id] ?? 0) - (impacts[a.id] ?? 0));
  byId("scale").textContent = Object.keys(impacts).length ? MEASURED : "";
  byId("chunks").replaceChildren(...chunks.map((chunk) => chunkRow(chunk, largest)));
}

function chunkRow(chunk, largest) {
  const verdict = element("span", { className: "verdict", textContent: chunk.in_prompt ? "used" : "dropped" });
  const place = `${chunk.path}:${chunk.start_line}–${chunk.end_line}`;
  const head = element("div", { className: "head" }, verdict, element("span", { className: "path", textContent: place }));
  const why = [chunk.symbol, chunk.reason].filter(Boolean).join(" · ");
  const summary = element("summary", { title: "show the code" }, head);
  summary.append(element("div", { className: "reason", textContent: why }));
  if (chunk.id in impacts) {
    summary.append(impactBar(impacts[chunk.id], largest));
  }
  const code = element("pre", { textContent: chunk.text });
  const details = element("details", {}, summary, code);
  return element("li", { className: chunk.in_prompt ? "used" : "dropped" }, details);
}

function impactBar(impact, largest) {
  const width = `${(100 * Math.abs(impact)) / largest}%`;
  const side = (name, isOn) => {
    const fill = element("b");
    fill.style.width = isOn ? width : "0";
    return element("div", { className: name }, fill);
  };
  const value = `${impact >= 0 ? "+" : "−"}${Math.abs(impact).toFixed(2)}`;
  const number = element("span", { textContent: value, title: "nats per token of the completion" });
  return element("div", { className: "impact" }, side("minus", impact < 0), side("plus", impact >= 0), number);
}

async function measure() {
  const wanted = shown.id;
  byId("measure").disabled = true;
  byId("scale").textContent = "Measuring …";
  let measured = {};
  let problem = "";
  try {
    measured = (await ask("attribute", { id: wanted })).impacts;
  } catch (error) {
    problem = error.message;
  }
  if (shown.id === wanted) {
    impacts = measured;
    byId("measure").disabled = Object.keys(impacts).length > 0; // a newer request stopped it: try again
    showChunks();
    byId("scale").textContent ||= problem;
  }
}

// --- beginning ---

async function followStatus() {
  try {
    const status = await ask("status");
    byId("status").textContent = (status.busy ? "… " : "") + status.message;
    byId("status").className = status.kind;
  } catch {
    byId("status").textContent = "the playground has ended";
    byId("status").className = "Error";
  }
  setTimeout(followStatus, STATUS_MS);
}

async function begin() {
  const { repository, files } = await ask("files");
  byId("repository").textContent = repository;
  byId("paths").replaceChildren(...files.map((name) => element("option", { value: name })));
  await loadEditor();
  makeEditor();
  byId("files").addEventListener("change", (event) => void open(event.target.value).catch(complain));
  byId("files").addEventListener("focus", (event) => event.target.select());
  byId("several").addEventListener("click", askForSeveral);
  for (const button of document.querySelectorAll("button")) {
    button.addEventListener("mousedown", (event) => event.preventDefault()); // the editor keeps the focus
  }
  byId("measure").addEventListener("click", () => void measure().catch(complain));
  const first = decodeURIComponent(location.hash.slice(1)) || files.find((name) => /\.(py|ts|js|go|rs|java)$/.test(name));
  await open(first ?? files[0]);
  void followStatus();
}

function complain(error) {
  byId("status").textContent = String(error.message ?? error);
  byId("status").className = "Error";
}

begin().catch(complain);
