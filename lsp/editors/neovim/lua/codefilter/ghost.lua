-- Ghost text for Neovim 0.11, which does not know inline completion: asks the server on every change in insert mode,
-- draws the answer as virtual text, and puts it into the buffer when it is taken.

local M = {}

local namespace = vim.api.nvim_create_namespace("codefilter")
local shown = nil -- { buffer, row, column, typed, items, number, client }; the cursor is behind what was typed of it
local running = nil -- { client, id }: the request on its way

local keys = require("codefilter.keys")
local first_word = require("codefilter.words").first

local INVOKED, AUTOMATIC = 1, 2

local function clear()
  if shown and vim.api.nvim_buf_is_valid(shown.buffer) then
    vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  end
  shown = nil
end

--- What is still to be written.
local function rest()
  return shown.items[shown.number].insertText:sub(#shown.typed + 1)
end

local function draw()
  local lines = vim.split(rest(), "\n", { plain = true })
  local below = {}
  for index = 2, #lines do
    below[#below + 1] = { { lines[index], "Comment" } }
  end
  vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  vim.api.nvim_buf_set_extmark(shown.buffer, namespace, shown.row, shown.column, {
    virt_text = { { lines[1], "Comment" } },
    virt_text_pos = "inline",
    virt_lines = #below > 0 and below or nil,
  })
end

local function show()
  draw()
  shown.client:notify("textDocument/didShowCompletion", { item = shown.items[shown.number] })
end

--- Go on with the text that is shown while it is typed; false where something else was typed.
local function follow()
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, column = cursor[1] - 1, cursor[2]
  if not shown or vim.api.nvim_get_current_buf() ~= shown.buffer or row ~= shown.row or column < shown.column then
    return false
  end
  local typed = vim.api.nvim_get_current_line():sub(shown.column + 1, column)
  if #typed >= #rest() or not vim.startswith(rest(), typed) then
    return false
  end
  shown.typed, shown.column = shown.typed .. typed, column
  draw()
  return true
end

local function is_here(buffer, row, column)
  local cursor = vim.api.nvim_win_get_cursor(0)
  return vim.api.nvim_get_current_buf() == buffer and cursor[1] - 1 == row and cursor[2] == column
end

local function request(client, buffer, kind)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, column = cursor[1] - 1, cursor[2]
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  if running then
    running.client:cancel_request(running.id)
  end
  local sent, id = client:request("textDocument/inlineCompletion", params, function(err, result, context)
    if running and running.id == context.request_id then -- and not the one that took its place
      running = nil
    end
    local items = not err and result and (result.items or result) or {}
    if not is_here(buffer, row, column) or vim.api.nvim_get_mode().mode:sub(1, 1) ~= "i" then
      return
    end
    if #items > 0 then
      shown = { buffer = buffer, row = row, column = column, typed = "", items = items, number = 1, client = client }
      show()
    elseif not err then
      clear()
    end
  end, buffer)
  running = sent and { client = client, id = id } or nil
end

local function insert(text)
  local lines = vim.split(text, "\n", { plain = true })
  local row, column = shown.row, shown.column
  vim.api.nvim_buf_set_text(shown.buffer, row, column, row, column, lines)
  local last = #lines == 1 and column + #text or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines, last })
end

--- Take the text that is shown.
local function accept()
  local client, item = shown.client, shown.items[shown.number]
  insert(rest())
  clear()
  if item.command then
    local params = { command = item.command.command, arguments = item.command.arguments }
    client:request("workspace/executeCommand", params, function() end)
  end
end

--- Take one word of it; `follow` shows what is left.
local function accept_word()
  local client, item, word = shown.client, shown.items[shown.number], first_word(rest())
  local length = vim.str_utfindex(shown.typed .. word, "utf-16")
  insert(word)
  client:notify("textDocument/didPartiallyAcceptCompletion", { item = item, acceptedLength = length })
end

--- Show the next text; asks for several where only one is known.
function M.next(client_of)
  if shown and #shown.items > 1 and shown.typed == "" then
    shown.number = shown.number % #shown.items + 1
    return show()
  end
  local buffer = vim.api.nvim_get_current_buf()
  local client = client_of(buffer)
  if client then
    request(client, buffer, INVOKED)
  end
end

--- Bind a key that does something with the text that is shown.
local function map(key, action, description)
  keys.map(key, function()
    if not shown then
      return false
    end
    vim.schedule(function() -- Neovim may look at this key before the one before it is in the buffer
      if follow() then
        action()
      else
        keys.press(key)
      end
    end)
    return true
  end, description)
end

function M.setup(options, client_of)
  local group = vim.api.nvim_create_augroup("codefilter", { clear = true })
  -- "TextChangedP" alone is fired while the popup menu is open.
  vim.api.nvim_create_autocmd({ "TextChangedI", "TextChangedP", "CursorMovedI" }, {
    group = group,
    callback = function(event)
      if not follow() then
        clear()
      end
      local client = event.event ~= "CursorMovedI" and client_of(event.buf)
      if client then
        request(client, event.buf, AUTOMATIC)
      end
    end,
  })
  vim.api.nvim_create_autocmd("InsertLeave", { group = group, callback = clear })
  map(options.accept, accept, "take the completion")
  map(options.accept_word, accept_word, "take a word of the completion")
  if options.next then
    vim.keymap.set("i", options.next, function()
      M.next(client_of)
    end, { desc = "CodeFilter: next completion" })
  end
end

return M
