-- Tells the server where the cursor rests, which then reads the place before a key is pressed.

local M = {}

local REST_MS = 500

local function tell(client_of)
  local client = client_of(vim.api.nvim_get_current_buf())
  if client then
    client:notify("codefilter/didRest", vim.lsp.util.make_position_params(0, client.offset_encoding))
  end
end

function M.setup(client_of)
  local timer = vim.uv.new_timer()
  vim.api.nvim_create_autocmd({ "LspAttach", "BufEnter", "CursorMoved", "CursorMovedI" }, {
    group = vim.api.nvim_create_augroup("codefilter_resting", { clear = true }),
    callback = function()
      timer:start(REST_MS, 0, vim.schedule_wrap(function() -- anew, if it runs
        tell(client_of)
      end))
    end,
  })
end

return M
