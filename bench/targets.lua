-- Asks for the paths of the file PATHS in turn.
local paths = {}
for line in io.lines(os.getenv("PATHS")) do paths[#paths + 1] = line end
local next = 0

function request()
  next = next % #paths + 1
  return wrk.format("GET", paths[next])
end
