-- Keys that take a completion, and without one do what they did before: what a mapping of the user's or Neovim's own
-- says, as `<Tab>` jumps in a snippet, or what the key itself does.

local M = {}

local DESCRIPTION = "CodeFilter: "

local before = {} -- by key: the mapping that it had, as `maparg` tells it
local callback = nil -- of such a mapping, until it is run

--- The mapping that a key has in insert mode in all buffers, or nil; a buffer's own one comes before ours anyway.
local function mapping_of(key)
  for _, found in ipairs(vim.api.nvim_get_keymap("i")) do
    if found.lhsraw == vim.keycode(key) or found.lhsrawalt == vim.keycode(key) then
      return found
    end
  end
end

--- Run what was bound to a key; while an expression is evaluated no text may be changed.
function M.run()
  callback()
end

--- What a key stood for before, as Neovim has keys inside.
local function keys_of(key)
  local old = before[key]
  if not old then
    return vim.keycode(key)
  end
  if old.callback and old.expr == 0 then
    callback = old.callback
    return vim.keycode("<Cmd>lua require('codefilter.keys').run()<CR>")
  end
  local keys
  if old.callback then
    keys = old.callback() or "" -- nil presses nothing
  else
    keys = vim.keycode(((old.rhs or ""):gsub("<SID>", "<SNR>" .. old.sid .. "_")))
    if old.expr == 0 then
      return keys
    end
    keys = vim.api.nvim_eval((keys:gsub("\128\254X", "\128"))) -- there a byte 128 that begins no key is itself
  end
  return old.replace_keycodes == 1 and vim.keycode(keys) or keys
end

--- Press a key as it was before, from where nothing waits for its keys.
function M.press(key)
  local own, keys = vim.keycode(key), keys_of(key)
  if not before[key] or before[key].noremap == 1 then
    return vim.fn.feedkeys(keys, "n")
  end
  if vim.startswith(keys, own) then -- a mapping to itself is not followed
    vim.fn.feedkeys(own, "n")
    keys = keys:sub(#own + 1)
  end
  vim.fn.feedkeys(keys, "m")
end

--- Bind a key to a function that takes a completion, or says with false that there is none.
function M.map(key, take, description)
  if not key then
    return
  end
  local old = mapping_of(key)
  if old and vim.startswith(old.desc or "", DESCRIPTION) then
    old = before[key] -- it was set up before
  end
  before[key] = old
  vim.keymap.set("i", key, function()
    return take() and "" or keys_of(key)
  end, {
    expr = true,
    replace_keycodes = false,
    remap = old ~= nil and old.noremap == 0,
    silent = old ~= nil and old.silent == 1,
    desc = DESCRIPTION .. description,
  })
end

return M
