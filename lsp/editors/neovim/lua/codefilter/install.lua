-- Puts the server into an environment of its own: `:CodeFilter install`. The plugin's checkout has what is needed.

local M = {}

local environment = vim.fn.stdpath("data") .. "/codefilter/environment"

local function say(message, level)
  vim.schedule(function()
    vim.notify("CodeFilter: " .. message, level or vim.log.levels.INFO)
  end)
end

--- The path of a program of the environment, or nil where it is not installed.
function M.program(name)
  local path = environment .. (vim.fn.has("win32") == 1 and "/Scripts/" .. name .. ".exe" or "/bin/" .. name)
  return vim.fn.executable(path) == 1 and path or nil
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

--- Whether a model has a name by which it can be downloaded: it is no folder and no server.
local function is_name(model)
  return type(model) == "string" and (model:match("^%w[%w_.-]*$") or model:match("^%w[%w_.-]*/%w[%w_.-]*$"))
end

--- Download the model of the settings, or the default one, or go on with a download.
function M.download_model(model)
  local program = M.program("codefilter") or vim.fn.exepath("codefilter")
  if program == "" then
    return say("the server is not there yet. Install it with :CodeFilter install", vim.log.levels.WARN)
  end
  local command = { program, "models", "pull" }
  if is_name(model) then
    table.insert(command, model)
  end
  say("downloading the model")
  vim.system(command, { text = true }, function(done)
    say(done.code == 0 and "the model is there" or "the download failed: " .. (done.stderr or ""):sub(-400))
  end)
end

return M
