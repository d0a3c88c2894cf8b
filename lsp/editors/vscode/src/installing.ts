// Running what `locating` plans, with progress. In: steps. Out: a server that can be started.

import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import * as vscode from "vscode";
import { ASK_VERSION, Step, Surroundings, installSteps, onPath, pythonNames } from "./locating.js";

const run = promisify(execFile);

/** A Python from the PATH that is new enough. */
export async function findPython(around: Surroundings): Promise<string | undefined> {
  for (const name of pythonNames(around.platform)) {
    const path = onPath(name, around);
    if (path === undefined) {
      continue;
    }
    const answer = await run(path, ASK_VERSION).catch(() => undefined);
    if (answer?.stdout.trim() === "True") {
      return path;
    }
  }
  return undefined;
}

/** Install the server into the extension's own folder; false where that failed, which the user was told. */
export async function install(around: Surroundings, wheel: string, log: vscode.OutputChannel): Promise<boolean> {
  const python = await findPython(around);
  if (python === undefined) {
    const message = "CodeFilter needs Python 3.11 or newer, which is not on this machine's PATH.";
    void vscode.window.showErrorMessage(`${message} Install it from python.org or your system's store.`);
    return false;
  }
  mkdirSync(around.storage, { recursive: true });
  return runSteps("Installing CodeFilter", installSteps(python, wheel, around), log);
}

/** Run steps one after the other and show how far they are. */
export async function runSteps(title: string, steps: Step[], log: vscode.OutputChannel): Promise<boolean> {
  const location = vscode.ProgressLocation.Notification;
  return vscode.window.withProgress({ location, title }, async (progress) => {
    for (const step of steps) {
      progress.report({ message: step.title });
      log.appendLine(`> ${step.program.command} ${step.program.args.join(" ")}`);
      try {
        const done = await run(step.program.command, step.program.args, { maxBuffer: 1 << 26 });
        log.append(done.stdout + done.stderr);
      } catch (error) {
        log.appendLine(String(error));
        const choice = await vscode.window.showErrorMessage(`${step.title} failed.`, "Show Log");
        if (choice === "Show Log") {
          log.show();
        }
        return false;
      }
    }
    return true;
  });
}
