-- Taking a text word by word.

local M = {}

--- The first word of a text, or the signs before the next one, with the space before them.
function M.first(text)
  return text:match("^%s*[%w_]+") or text:match("^%s*[^%w_%s]+") or text
end

return M
