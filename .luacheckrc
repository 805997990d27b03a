-- luacheck's rules for the Lua scripts as Redis receives them (tests/stream/test_lua.py).
-- What Redis 6.2's sandbox offers, and nothing else of Lua 5.1: no io, no os, no globals of our own.
stds.redis = {
  read_globals = {
    "redis", "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct",
    "string", "table", "math",
    "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
    "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
  },
}
std = "redis"
max_line_length = false
ignore = {
  "4..",        -- a function may name its parameters as the script around it does
  "211/[A-Z_]+", -- a declaration of several constants comes along as a whole
}
