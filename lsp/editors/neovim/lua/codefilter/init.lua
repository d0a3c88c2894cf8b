-- CodeFilter in Neovim: starts the server, shows its completions as ghost text.
--
-- Neovim 0.12 shows inline completion itself; 0.11 gets it from `codefilter.ghost`. Both take a text with one key.

local M = {}

M.defaults = {
  cmd = nil, -- the server; nil: the one that `:CodeFilter install` made, else the one on the PATH
  filetypes = nil, -- nil: all
  root_markers = { ".git", "pyproject.toml", "package.json", "go.mod", "Cargo.toml", "pom.xml" },
  accept = "<Tab>", -- in insert mode; false: no key
  accept_word = "<M-Right>",
  next = "<M-]>", -- asks for several, and goes through them
  settings = {}, -- the server's options, as in its README
}

local options = M.defaults
local asked = nil -- id of the client that was asked last: its page is a buffer without one

--- The command of the server, or nil where there is none.
function M.server()
  if options.cmd then
    return options.cmd
  end
  local program = require("codefilter.install").program("codefilter-lsp") or vim.fn.exepath("codefilter-lsp")
  return program ~= "" and { program } or nil
end

--- The running client of a buffer.
function M.client(buffer)
  return vim.lsp.get_clients({ name = "codefilter", bufnr = buffer })[1]
end

local function say(message, level)
  vim.notify("CodeFilter: " .. message, level or vim.log.levels.INFO)
end

--- The client that a command means: every root has its own.
local function client_here()
  local others = vim.lsp.get_clients({ name = "codefilter" })
  local client = M.client(0) or (asked and vim.lsp.get_client_by_id(asked)) or others[1]
  asked = client and client.id
  return client
end

--- Run one of the server's commands and hand its result to a function.
local function command(name, arguments, on_result)
  local client = client_here()
  if not client then
    return say("the server is not running; :CodeFilter install", vim.log.levels.WARN)
  end
  local params = { command = "codefilter." .. name, arguments = arguments }
  client:request("workspace/executeCommand", params, function(err, result)
    if err then
      say(err.message, vim.log.levels.ERROR)
    elseif on_result then
      on_result(result)
    end
  end)
end

local function show_status(status)
  say(status.message, status.kind == "Error" and vim.log.levels.ERROR or vim.log.levels.INFO)
end

local subcommands = {
  status = function()
    command("status", {}, show_status)
  end,
  explain = function()
    command("explain", {}) -- the server opens its page in a window
  end,
  measure = function()
    say("measuring what each chunk did for the last completion")
    command("attribute", {}, function(impacts) -- opens the page with them
      if vim.tbl_isempty(impacts) then
        say("nothing was measured: no chunks were found, or a newer completion came between")
      end
    end)
  end,
  snooze = function(arguments)
    command("snooze", { tonumber(arguments[1]) or 5 }, show_status)
  end,
  resume = function()
    command("resume", {}, show_status)
  end,
  ["delete-feedback"] = function()
    command("deleteFeedback", {})
  end,
  install = function()
    require("codefilter.install").install(M.enable)
  end,
  model = function()
    require("codefilter.install").download_model(options.settings.model)
  end,
}

--- Start the server for all buffers that want it.
function M.enable()
  local cmd = M.server()
  if not cmd then
    return say("the server is not there yet. Install it with :CodeFilter install", vim.log.levels.WARN)
  end
  vim.lsp.config("codefilter", {
    cmd = cmd,
    filetypes = options.filetypes,
    root_dir = function(buffer, on_root)
      -- The server's own pages are no place to complete; they would start a server of their own.
      if not vim.api.nvim_buf_get_name(buffer):find("/explanations/%x+[%w-]*%.md$") then
        on_root(vim.fs.root(buffer, options.root_markers))
      end
    end,
    init_options = options.settings,
    settings = { codefilter = options.settings },
    capabilities = { textDocument = { inlineCompletion = { dynamicRegistration = false } } },
    handlers = {
      ["didChangeStatus"] = function(_, status)
        vim.g.codefilter_status = status.message -- for a status line
      end,
    },
  })
  vim.lsp.enable("codefilter")
end

--- Set up; see `M.defaults` for the options.
function M.setup(given)
  options = vim.tbl_deep_extend("force", M.defaults, given or {})
  options.settings = vim.tbl_extend("keep", options.settings, { statusNotifications = true })
  vim.api.nvim_create_user_command("CodeFilter", function(call)
    local name = table.remove(call.fargs, 1) or "status"
    if subcommands[name] then
      subcommands[name](call.fargs)
    else
      say("there is no :CodeFilter " .. name, vim.log.levels.ERROR)
    end
  end, {
    nargs = "*",
    complete = function(typed)
      local names = vim.tbl_filter(function(name)
        return vim.startswith(name, typed)
      end, vim.tbl_keys(subcommands))
      table.sort(names)
      return names
    end,
  })
  if vim.lsp.inline_completion then
    require("codefilter.native").setup(options)
  else
    require("codefilter.ghost").setup(options, M.client)
  end
  require("codefilter.resting").setup(M.client)
  M.enable()
end

return M
