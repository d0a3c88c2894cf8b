//! CodeFilter in Zed: finds the server on the PATH and starts it with the user's settings.

use zed_extension_api::{
    self as zed, serde_json, settings::LspSettings, Command, LanguageServerId, Result, Worktree,
};

const SERVER: &str = "codefilter-lsp";
const HINT: &str = "codefilter-lsp is not on the PATH. In a checkout of CodeFilter run: python3.11 bootstrap.py install";

struct CodeFilter;

impl zed::Extension for CodeFilter {
    fn new() -> Self {
        CodeFilter
    }

    fn language_server_command(&mut self, _: &LanguageServerId, worktree: &Worktree) -> Result<Command> {
        Ok(Command {
            command: worktree.which(SERVER).ok_or_else(|| HINT.to_string())?,
            args: Vec::new(),
            env: worktree.shell_env(),
        })
    }

    fn language_server_initialization_options(
        &mut self,
        server: &LanguageServerId,
        worktree: &Worktree,
    ) -> Result<Option<serde_json::Value>> {
        Ok(LspSettings::for_worktree(server.as_ref(), worktree)?.initialization_options)
    }

    fn language_server_workspace_configuration(
        &mut self,
        server: &LanguageServerId,
        worktree: &Worktree,
    ) -> Result<Option<serde_json::Value>> {
        let settings = LspSettings::for_worktree(server.as_ref(), worktree)?.settings;
        Ok(Some(serde_json::json!({ SERVER.trim_end_matches("-lsp"): settings })))
    }
}

zed::register_extension!(CodeFilter);
