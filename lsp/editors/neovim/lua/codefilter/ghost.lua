-- Grey text for Neovim 0.11, which does not know inline completion: asks the server on every change in insert mode,
-- draws the answer as virtual text, and puts it into the buffer when it is taken.

local M = {}

local namespace = vim.api.nvim_create_namespace("codefilter")
local shown = nil -- { buffer, row, column, items, number, client }
local running = nil -- { client, id }: the request on its way

local INVOKED, AUTOMATIC = 1, 2

local function clear()
  if shown and vim.api.nvim_buf_is_valid(shown.buffer) then
    vim.api.nvim_buf_clear_namespace(shown.buffer, namespace, 0, -1)
  end
  shown = nil
end

local function draw()
  local lines = vim.split(shown.items[shown.number].insertText, "\n", { plain = true })
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
  shown.client:notify("textDocument/didShowCompletion", { item = shown.items[shown.number] })
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
  local sent, id = client:request("textDocument/inlineCompletion", params, function(err, result)
    running = nil
    local items = not err and result and (result.items or result) or {}
    if #items > 0 and vim.api.nvim_get_mode().mode:sub(1, 1) == "i" and is_here(buffer, row, column) then
      shown = { buffer = buffer, row = row, column = column, items = items, number = 1, client = client }
      draw()
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

--- Take the text that is shown; false where there is none.
function M.accept()
  if not (shown and is_here(shown.buffer, shown.row, shown.column)) then
    return false
  end
  local taken = shown
  local item = taken.items[taken.number]
  vim.schedule(function()
    insert(item.insertText)
    clear()
    if item.command then
      local params = { command = item.command.command, arguments = item.command.arguments }
      taken.client:request("workspace/executeCommand", params, function() end)
    end
  end)
  return true
end

--- Take one word of it; what is left is shown again without asking the model.
function M.accept_word()
  if not (shown and is_here(shown.buffer, shown.row, shown.column)) then
    return false
  end
  local item = shown.items[shown.number]
  local word = item.insertText:match("^%s*[%w_]+") or item.insertText:match("^%s*[^%w_%s]+") or item.insertText
  local client = shown.client
  vim.schedule(function()
    insert(word)
    clear()
    local length = vim.str_utfindex(word, "utf-16")
    client:notify("textDocument/didPartiallyAcceptCompletion", { item = item, acceptedLength = length })
  end)
  return true
end

--- Show the next text; asks for several where only one is known.
function M.next(client_of)
  if shown and #shown.items > 1 then
    shown.number = shown.number % #shown.items + 1
    return draw()
  end
  local buffer = vim.api.nvim_get_current_buf()
  local client = client_of(buffer)
  if client then
    request(client, buffer, INVOKED)
  end
end

local function map(key, action, description)
  if key then
    vim.keymap.set("i", key, function()
      return action() and "" or key
    end, { expr = true, desc = "CodeFilter: " .. description })
  end
end

function M.setup(options, client_of)
  local group = vim.api.nvim_create_augroup("codefilter", { clear = true })
  vim.api.nvim_create_autocmd({ "TextChangedI", "CursorMovedI" }, {
    group = group,
    callback = function(event)
      if shown and is_here(shown.buffer, shown.row, shown.column) and event.event == "CursorMovedI" then
        return
      end
      clear()
      local client = event.event == "TextChangedI" and client_of(event.buf)
      if client then
        request(client, event.buf, AUTOMATIC)
      end
    end,
  })
  vim.api.nvim_create_autocmd("InsertLeave", { group = group, callback = clear })
  map(options.accept, M.accept, "take the completion")
  map(options.accept_word, M.accept_word, "take a word of the completion")
  if options.next then
    vim.keymap.set("i", options.next, function()
      M.next(client_of)
    end, { desc = "CodeFilter: next completion" })
  end
end

return M
