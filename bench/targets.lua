-- Sends the requests of the file PLAN in order, each with the header set that it names of the file HEADER_SETS, to paths
-- behind PREFIX. With WRITES, writes a line to that pipe before every READS_PER_WRITE requests.
local heads, sets, paths = {}, {}, {}
local prefix, writes = os.getenv("PREFIX") or "", os.getenv("WRITES")
local reads_per_write = tonumber(os.getenv("READS_PER_WRITE") or "0")
local at, pipe = 0, nil

local function read_header_sets(host)
  local block = {}
  for line in io.lines(os.getenv("HEADER_SETS")) do
    if line == "" then
      heads[#heads + 1] = " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. table.concat(block, "\r\n") .. "\r\n\r\n"
      block = {}
    else
      block[#block + 1] = line
    end
  end
end

function init()
  read_header_sets(wrk.headers["Host"])
  for line in io.lines(os.getenv("PLAN")) do
    local set, path = line:match("^(%d+) (.+)$")
    sets[#sets + 1], paths[#paths + 1] = tonumber(set), prefix .. path
  end
  if writes then pipe = io.open(writes, "w") end
end

function request()
  at = at % #paths + 1
  if pipe and at % reads_per_write == 0 then
    pipe:write("\n")
    pipe:flush()
  end
  return "GET " .. paths[at] .. heads[sets[at]]
end
