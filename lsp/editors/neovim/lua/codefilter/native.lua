-- Ghost text by Neovim itself, from 0.12.
--
-- Neovim asks 0.2 s after the last key, and until the next answer shows what is left of the last one. Taken then, the
-- whole text would be put where the last question was, before what has been typed since; so every text is cut first.

local M = {}

local keys = require("codefilter.keys")
local first_word = require("codefilter.words").first

--- What was typed of an item since Neovim asked, or nil where it does not fit any more.
local function typed_of(item)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, column, range = cursor[1] - 1, cursor[2], item.range
  if not range or range.start_row ~= row or range.start_col > column then
    return nil
  end
  local typed = vim.api.nvim_get_current_line():sub(range.start_col + 1, column)
  return #typed < #item.insert_text and vim.startswith(item.insert_text, typed) and typed or nil
end

--- Let an item replace what was typed of it.
local function over_typed(item, typed)
  local range = item.range
  item.range = vim.range(range.buf, range.start_row, range.start_col, range.start_row, range.start_col + #typed)
  return item
end

local function only_word(item, typed)
  local word = typed .. first_word(item.insert_text:sub(#typed + 1))
  local client = vim.lsp.get_client_by_id(item.client_id)
  if client then
    local shown = { insertText = item.insert_text, command = item.command }
    local length = vim.str_utfindex(word, "utf-16")
    client:notify("textDocument/didPartiallyAcceptCompletion", { item = shown, acceptedLength = length })
  end
  item.insert_text, item.command = word, nil
  return over_typed(item, typed)
end

--- Bind a key that takes what `cut` makes of the text, if that fits.
local function map(key, cut, description)
  keys.map(key, function()
    return vim.lsp.inline_completion.get({
      on_accept = function(item)
        local typed = typed_of(item)
        if typed then
          return cut(item, typed)
        end
        keys.press(key)
      end,
    })
  end, description)
end

function M.setup(options)
  vim.api.nvim_create_autocmd("LspAttach", {
    group = vim.api.nvim_create_augroup("codefilter", { clear = true }),
    callback = function(event)
      local client = vim.lsp.get_client_by_id(event.data.client_id)
      if client and client.name == "codefilter" then
        vim.lsp.inline_completion.enable(true, { client_id = client.id })
      end
    end,
  })
  map(options.accept, over_typed, "take the completion")
  map(options.accept_word, only_word, "take a word of the completion")
  if options.next then
    vim.keymap.set("i", options.next, function()
      vim.lsp.inline_completion.select({ count = 1 })
    end, { desc = "CodeFilter: next completion" })
  end
end

return M
