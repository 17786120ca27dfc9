-- Sends templates in turn, numbers filled in: wrk -t1 … -s wrk.lua URL -- FILE PARTITIONS STORED STRIDE, the file and the
-- numbers as bench/templates.py has them. At the end one line with counts is printed.

local format = string.format
local templates, partitions, stored, stride
local sent, number = 0, 0

local function pieces(template)
  local found, from = {}, 1
  while true do
    local at = template:find("[\1-\5]", from)
    if not at then
      found[#found + 1] = template:sub(from)
      return found
    end
    found[#found + 1] = template:sub(from, at - 1)
    found[#found + 1] = template:byte(at)
    from = at + 1
  end
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local text = file:read("*a")
  file:close()
  partitions, stored, stride = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  templates = {}
  for template in text:gmatch("[^%z]+") do
    templates[#templates + 1] = pieces(template)
  end
end

local filled = {}

function request()
  local template = templates[sent % #templates + 1]
  sent = sent + 1
  local count = #template
  if count == 1 then return template[1] end
  for index = 1, count, 2 do
    filled[index] = template[index]
    local slot = template[index + 1]
    if slot then
      local which = slot <= 2 and number or number * stride % stored
      if slot == 2 or slot == 4 then
        filled[index + 1] = format("%012d", which)
      else
        filled[index + 1] = format("%04d", which % partitions)
      end
      if slot == 2 or slot >= 4 then number = number + 1 end
    end
  end
  return table.concat(filled, "", 1, count)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers": %d, "refused": %d, "broken": %d, "late": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write, errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
