-- Puts the server into an environment of its own: `:CodeFilter install`. The plugin's checkout has what is needed.

local M = {}

local data = vim.fn.stdpath("data") .. "/codefilter"
local environment = data .. "/environment"

local function say(message, level)
  vim.schedule(function()
    vim.notify("CodeFilter: " .. message, level or vim.log.levels.INFO)
  end)
end

--- The checkout that this file is in.
local function checkout()
  local here = debug.getinfo(1, "S").source:sub(2)
  return vim.fs.root(here, "bootstrap.py")
end

local function python()
  for _, name in ipairs({ "python3.13", "python3.12", "python3.11", "python3" }) do
    if vim.fn.executable(name) == 1 then
      return name
    end
  end
end

--- Install the server and its model, then call a function.
function M.install(on_done)
  local root, program = checkout(), python()
  if not root then
    return say("this copy of the plugin came without the server: clone the whole project", vim.log.levels.ERROR)
  end
  if not program then
    return say("Python 3.11 or newer is needed, and is not on the PATH", vim.log.levels.ERROR)
  end
  say("installing; this takes some minutes, and nothing needs to be done")
  local env = { CODEFILTER_VENV = environment }
  vim.system({ program, root .. "/bootstrap.py", "install" }, { env = env, text = true }, function(done)
    if done.code == 0 then
      say("installed")
      vim.schedule(on_done)
    else
      say("the installation failed: " .. (done.stderr or ""):sub(-400), vim.log.levels.ERROR)
    end
  end)
end

--- Download the model, or go on with a download.
function M.download_model()
  local own = environment .. "/bin/codefilter"
  local program = vim.fn.executable(own) == 1 and own or "codefilter"
  say("downloading the model")
  vim.system({ program, "models", "pull" }, { text = true }, function(done)
    say(done.code == 0 and "the model is there" or "the download failed: " .. (done.stderr or ""):sub(-400))
  end)
end

return M
