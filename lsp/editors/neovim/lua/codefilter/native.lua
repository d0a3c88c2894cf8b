-- Grey text by Neovim itself, from 0.12.

local M = {}

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
  if options.accept then
    vim.keymap.set("i", options.accept, function()
      return vim.lsp.inline_completion.get() and "" or options.accept
    end, { expr = true, desc = "CodeFilter: take the completion" })
  end
  if options.next then
    vim.keymap.set("i", options.next, function()
      vim.lsp.inline_completion.select({ count = 1 })
    end, { desc = "CodeFilter: next completion" })
  end
end

return M
