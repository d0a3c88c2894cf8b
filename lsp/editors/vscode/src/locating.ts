// Where the server is, and how it gets there. In: settings, folders. Out: a command, or what to run to have one.
//
// Nothing here reads a workspace: a project that is open cannot choose what runs.

import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";

export interface Program {
  command: string;
  args: string[];
}

export interface Surroundings {
  /** The setting codefilter.server.path; empty where there is none. */
  configured: string;
  /** The extension's own folder for what it installs. */
  storage: string;
  /** The PATH. */
  path: string;
  platform: NodeJS.Platform;
}

/** Folder of an environment's programs. */
export function programsOf(environment: string, platform: NodeJS.Platform): string {
  return join(environment, platform === "win32" ? "Scripts" : "bin");
}

/** The program of a name in an environment. */
export function programIn(environment: string, name: string, platform: NodeJS.Platform): string {
  return join(programsOf(environment, platform), platform === "win32" ? `${name}.exe` : name);
}

/** The extension's own Python environment. */
export function environmentIn(storage: string): string {
  return join(storage, "environment");
}

/** The server: as configured, else as installed by the extension, else from the PATH. */
export function findServer(around: Surroundings): string | undefined {
  if (around.configured) {
    return around.configured;
  }
  const own = programIn(environmentIn(around.storage), "codefilter-lsp", around.platform);
  return existsSync(own) ? own : onPath("codefilter-lsp", around);
}

/** The first program of a name on the PATH; relative entries, which depend on the open folder, do not count. */
export function onPath(name: string, around: Surroundings): string | undefined {
  const file = around.platform === "win32" ? `${name}.exe` : name;
  return around.path
    .split(delimiter)
    .filter((folder) => folder.startsWith("/") || /^[A-Za-z]:[\\/]/.test(folder))
    .map((folder) => join(folder, file))
    .find((path) => existsSync(path));
}

/** The wheel that came with the extension. */
export function bundledWheel(extension: string): string | undefined {
  const folder = join(extension, "server");
  const wheels = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith(".whl")) : [];
  return wheels.length > 0 ? join(folder, wheels[wheels.length - 1] as string) : undefined;
}

/** The extra that brings the quick engines for processors. */
const ENGINE = "[cpu]";

export interface Step {
  title: string;
  program: Program;
}

/**
 * What to run to install the server into the extension's own environment; torch comes in the build that fits.
 * Isolated (-I), so that no module of the folder that is open is run in the place of Python's own.
 */
export function installSteps(python: string, wheel: string, around: Surroundings): Step[] {
  const environment = environmentIn(around.storage);
  const inside = programIn(environment, "python", around.platform);
  const orphaned = existsSync(join(environment, "pyvenv.cfg")) && !existsSync(inside); // its Python is gone
  const create = ["-I", "-m", "venv", ...(orphaned ? ["--clear"] : []), environment];
  const install = ["-I", "-m", "uv", "pip", "install", "--python", inside, "--torch-backend", "auto"];
  return [
    { title: "Creating an environment", program: { command: python, args: create } },
    { title: "Fetching the installer", program: { command: inside, args: ["-I", "-m", "pip", "install", "uv"] } },
    { title: "Installing CodeFilter", program: { command: inside, args: [...install, `${wheel}${ENGINE}`] } },
  ];
}

/** Names of models that can be downloaded: not folders, not servers. */
const MODEL_NAME = /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/;

/** What to run to have the model of the setting codefilter.model, or the default one. */
export function modelStep(around: Surroundings, model: string | null): Step | undefined {
  const server = findServer(around);
  const own = programIn(environmentIn(around.storage), "codefilter", around.platform);
  const command = existsSync(own) ? own : server && onPath("codefilter", around);
  const args = ["models", "pull", ...(model !== null && MODEL_NAME.test(model) ? [model] : [])];
  return command ? { title: "Downloading the model", program: { command, args } } : undefined;
}

/** Arguments with which a Python says "True" if it is new enough; isolated, as in `installSteps`. */
export const ASK_VERSION = ["-I", "-c", "import sys, venv; print(sys.version_info >= (3, 11))"];

/** Pythons that may do, the likeliest first. */
export function pythonNames(platform: NodeJS.Platform): string[] {
  const versions = ["python3.13", "python3.12", "python3.11"];
  return platform === "win32" ? ["py", "python"] : [...versions, "python3"];
}
