// The server's status → a line in the status bar. In: `didChangeStatus`. Out: text, icon, colour.

export interface ServerStatus {
  busy: boolean;
  kind: "Normal" | "Warning" | "Error" | "Inactive";
  message: string;
}

export interface StatusLine {
  text: string;
  tooltip: string;
  /** Name of a theme colour for the background; none where all is well. */
  background?: string;
}

/** What the status bar shows. */
export function statusLine(status: ServerStatus): StatusLine {
  const icons = { Normal: "sparkle", Warning: "sparkle", Error: "error", Inactive: "circle-slash" };
  const icon = status.busy ? "loading~spin" : icons[status.kind];
  const line = { text: `$(${icon}) CodeFilter`, tooltip: `CodeFilter: ${status.message}` };
  return status.kind === "Error" ? { ...line, background: "statusBarItem.errorBackground" } : line;
}
