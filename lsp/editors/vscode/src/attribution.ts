// The view of what the last completion was made from.

import * as vscode from "vscode";
import { Explanation, Row, rowsOf } from "./explanation.js";

export class AttributionView implements vscode.TreeDataProvider<Row> {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changed.event;
  private rows: Row[] = [];
  private folder: vscode.Uri | undefined;
  private last: Explanation | undefined;

  /** The answer that is shown. */
  get answerId(): string | undefined {
    return this.last?.id;
  }

  show(explanation: Explanation): void {
    this.last = explanation;
    this.rows = rowsOf(explanation);
    const document = vscode.Uri.parse(explanation.uri);
    this.folder = vscode.workspace.getWorkspaceFolder(document)?.uri;
    this.changed.fire();
  }

  getChildren(row?: Row): Row[] {
    return row === undefined ? this.rows : [];
  }

  getTreeItem(row: Row): vscode.TreeItem {
    const item = new vscode.TreeItem(row.label);
    item.description = row.description;
    item.tooltip = row.tooltip;
    item.iconPath = new vscode.ThemeIcon(row.icon);
    if (row.chunk !== undefined && this.folder !== undefined) {
      const uri = vscode.Uri.joinPath(this.folder, row.chunk.path);
      const lines = new vscode.Range(row.chunk.start_line - 1, 0, row.chunk.end_line, 0);
      item.command = { title: "Open", command: "vscode.open", arguments: [uri, { selection: lines }] };
    }
    return item;
  }
}
