// CodeFilter in VS Code: starts the server, shows its status, and what the last completion was made from.
//
// Ghost text itself is the client library's work: the server speaks textDocument/inlineCompletion.

import * as vscode from "vscode";
import { LanguageClient, State } from "vscode-languageclient/node";
import { AttributionView } from "./attribution.js";
import { Explanation } from "./explanation.js";
import { install, runSteps } from "./installing.js";
import { Surroundings, bundledWheel, findServer, modelStep } from "./locating.js";
import { serverOptions, toggled } from "./settings.js";
import { ServerStatus, statusLine } from "./status.js";

const SCHEMES = ["file", "untitled"];
const REST_MS = 500;
const STARTING: ServerStatus = { busy: true, kind: "Normal", message: "starting" };
const MISSING: ServerStatus = { busy: false, kind: "Error", message: "the server is not installed" };

export function activate(context: vscode.ExtensionContext): Promise<void> {
  return new CodeFilter(context).start();
}

class CodeFilter {
  private client: LanguageClient | undefined;
  private readonly log = vscode.window.createOutputChannel("CodeFilter", { log: true });
  private readonly bar = vscode.window.createStatusBarItem("codefilter", vscode.StatusBarAlignment.Right, 100);
  private readonly view = new AttributionView();
  private resting: NodeJS.Timeout | undefined;

  constructor(private readonly context: vscode.ExtensionContext) {
    this.bar.name = "CodeFilter";
    this.bar.command = "codefilter.menu";
    const tree = vscode.window.registerTreeDataProvider("codefilter.attribution", this.view);
    context.subscriptions.push(this.log, this.bar, tree, { dispose: () => void this.client?.dispose() });
    const commands: Record<string, () => unknown> = {
      "codefilter.menu": () => this.menu(),
      "codefilter.showLastCompletion": () => this.explain(true),
      "codefilter.measureImpact": () => this.measure(),
      "codefilter.snoozeFor5Minutes": () => vscode.commands.executeCommand("codefilter.snooze", 5),
      "codefilter.endSnooze": () => vscode.commands.executeCommand("codefilter.resume"),
      "codefilter.toggleLanguage": () => this.toggleLanguage(),
      "codefilter.installServer": () => this.install(),
      "codefilter.downloadModel": () => this.downloadModel(),
      "codefilter.restartServer": () => this.restart(),
      "codefilter.forgetFeedback": () => this.forgetFeedback(),
    };
    for (const [name, run] of Object.entries(commands)) {
      context.subscriptions.push(vscode.commands.registerCommand(name, run));
    }
    context.subscriptions.push(
      vscode.window.onDidChangeTextEditorSelection(() => this.moved()),
      vscode.window.onDidChangeActiveTextEditor(() => this.moved()),
      { dispose: () => clearTimeout(this.resting) },
    );
  }

  async start(): Promise<void> {
    this.show(STARTING);
    const server = findServer(this.around);
    if (server === undefined) {
      this.show(MISSING);
      void this.offerInstallation();
      return;
    }
    const args = [...this.configuration.get<string[]>("server.arguments", []), "--stdio"];
    const client = new LanguageClient(
      "codefilter",
      "CodeFilter",
      { command: server, args },
      {
        documentSelector: SCHEMES.map((scheme) => ({ scheme })),
        outputChannel: this.log,
        initializationOptions: () => ({ ...this.options, statusNotifications: true }),
        middleware: {
          workspace: {
            configuration: async (params, token, next) => {
              const sections = await next(params, token);
              return Array.isArray(sections) ? sections.map(serverOptions) : sections;
            },
          },
        },
      },
    );
    client.onNotification("didChangeStatus", (status: ServerStatus) => {
      this.show(status);
      if (!status.busy) {
        void this.explain(false);
      }
    });
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Stopped) {
        this.show({ busy: false, kind: "Error", message: "the server has stopped; see the log" });
      }
    });
    this.client = client;
    await client.start();
    this.moved();
  }

  private moved(): void {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.tellRest(), REST_MS);
  }

  /** Tell the server where the cursor rests, which then reads the place before a key is pressed. */
  private tellRest(): void {
    const { client } = this;
    const editor = vscode.window.activeTextEditor;
    if (client?.state !== State.Running || !editor || !SCHEMES.includes(editor.document.uri.scheme)) {
      return;
    }
    const converter = client.code2ProtocolConverter;
    const place = converter.asTextDocumentPositionParams(editor.document, editor.selection.active);
    void client.sendNotification("codefilter/didRest", place);
  }

  private get configuration(): vscode.WorkspaceConfiguration {
    return vscode.workspace.getConfiguration("codefilter");
  }

  private get options(): Record<string, unknown> {
    return serverOptions(vscode.workspace.getConfiguration().get("codefilter"));
  }

  private get around(): Surroundings {
    return {
      configured: this.configuration.get<string>("server.path", ""),
      storage: this.context.globalStorageUri.fsPath,
      path: process.env["PATH"] ?? "",
      platform: process.platform,
    };
  }

  private show(status: ServerStatus): void {
    const line = statusLine(status);
    this.bar.text = line.text;
    this.bar.tooltip = line.tooltip;
    this.bar.backgroundColor = line.background ? new vscode.ThemeColor(line.background) : undefined;
    this.bar.show();
  }

  /** Let the server run one of its commands; undefined where it is not running. */
  private async ask<T>(command: string, ...args: unknown[]): Promise<T | undefined> {
    if (this.client?.state !== State.Running) {
      return undefined;
    }
    return this.client.sendRequest<T>("workspace/executeCommand", { command, arguments: args });
  }

  private async explain(reveal: boolean, ...answerId: string[]): Promise<void> {
    const found = await this.ask<Explanation | null>("codefilter.explain", ...answerId, { show: false });
    if (found) {
      this.view.show(found);
    }
    if (reveal) {
      await vscode.commands.executeCommand("codefilter.attribution.focus");
    }
  }

  /** Measure what each chunk did for the text that the view is about. */
  private async measure(): Promise<void> {
    const id = this.view.answerId;
    if (id === undefined) {
      void vscode.window.showInformationMessage("CodeFilter: nothing was asked for yet.");
      return;
    }
    await vscode.window.withProgress({ location: { viewId: "codefilter.attribution" } }, async () => {
      const impacts = await this.ask<Record<string, number>>("codefilter.attribute", id, { show: false });
      if (Object.keys(impacts ?? {}).length > 0) {
        await this.explain(true, id);
      } else {
        const why = "no chunks were found, or a newer completion came between";
        void vscode.window.showInformationMessage(`CodeFilter: nothing was measured: ${why}`);
      }
    });
  }

  private async menu(): Promise<void> {
    const language = vscode.window.activeTextEditor?.document.languageId;
    const entries: [string, string][] = [
      ["$(list-tree) Show what the last completion was made from", "codefilter.showLastCompletion"],
      ["$(graph) Measure what each chunk did for it", "codefilter.measureImpact"],
      ["$(bell-slash) Snooze for 5 minutes", "codefilter.snoozeFor5Minutes"],
      ["$(bell) End snooze", "codefilter.endSnooze"],
      ...(language ? ([[`$(code) Switch on or off for ${language}`, "codefilter.toggleLanguage"]] as [string, string][]) : []),
      ["$(cloud-download) Download the model", "codefilter.downloadModel"],
      ["$(tools) Install or update the server", "codefilter.installServer"],
      ["$(debug-restart) Restart the server", "codefilter.restartServer"],
      ["$(trash) Delete all feedback on this machine", "codefilter.forgetFeedback"],
    ];
    const items = entries.map(([label, command]) => ({ label, command }));
    const chosen = await vscode.window.showQuickPick(items, { title: String(this.bar.tooltip ?? "CodeFilter") });
    if (chosen !== undefined) {
      await vscode.commands.executeCommand(chosen.command);
    }
  }

  private async toggleLanguage(): Promise<void> {
    const language = vscode.window.activeTextEditor?.document.languageId;
    if (language !== undefined) {
      const languages = this.configuration.get<Record<string, boolean>>("languages", {});
      const target = vscode.ConfigurationTarget.Global;
      await this.configuration.update("languages", toggled(languages, language), target);
    }
  }

  private async offerInstallation(): Promise<void> {
    const message = "CodeFilter's server is not installed. Install it into a folder of this extension?";
    const choice = await vscode.window.showInformationMessage(message, "Install", "Not Now");
    if (choice === "Install") {
      await this.install();
    }
  }

  private async install(): Promise<void> {
    const wheel = bundledWheel(this.context.extensionPath);
    if (wheel === undefined) {
      void vscode.window.showErrorMessage("This build of the extension came without the server; see its README.");
      return;
    }
    await this.dropClient();
    try {
      if (await install(this.around, wheel, this.log)) {
        await this.downloadModel();
      }
    } finally {
      if (findServer(this.around) === undefined) {
        this.show(MISSING); // `start` would offer at once what has just failed
      } else {
        await this.start(); // if that failed, the server that was there
      }
    }
  }

  private async downloadModel(): Promise<void> {
    const step = modelStep(this.around, this.configuration.get<string | null>("model", null));
    if (step === undefined) {
      void vscode.window.showErrorMessage("The server is not installed yet.");
      return;
    }
    await runSteps("CodeFilter", [step], this.log);
  }

  private async restart(): Promise<void> {
    await this.dropClient();
    await this.start();
  }

  /** Ends the server; one that never started cannot be ended, which must not keep the next from starting. */
  private async dropClient(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    await client?.dispose().catch((error: unknown) => this.log.warn(String(error)));
  }

  private async forgetFeedback(): Promise<void> {
    const message = "Delete all that was noted about completions on this machine?";
    const choice = await vscode.window.showWarningMessage(message, { modal: true }, "Delete");
    if (choice === "Delete") {
      await vscode.commands.executeCommand("codefilter.deleteFeedback");
    }
  }
}
