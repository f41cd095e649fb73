-- The action `lua.remit URL`: asks the CA whether this request may pass. See haproxy.cfg beside it.

local TIMEOUT = 500 -- milliseconds, and HAProxy tries four times
local TOLD = {"id", "client_id", "x5t_s256", "task", "scope", "act", "exp", "error"}

-- What the client sent under this name, all of it: of two, the CA takes neither.
local function sent(headers, name)
    local values = {}
    local found = headers[name]
    if found then
        for at = 0, #found do
            values[#values + 1] = found[at]
        end
    end
    return values
end

local function first(headers, name)
    local values = headers and headers[name]
    return values and values[0] or ""
end

core.register_action("remit", {"http-req"}, function(txn, url)
    -- Until there is an answer there is none.
    txn:set_var("txn.remit_status", 503)
    local asked = {}
    local der = txn.sf:ssl_c_der()
    if der and #der > 0 then
        asked["client-cert"] = {":" .. txn.sc:base64(der) .. ":"}
    end
    local headers = txn.http:req_get_headers()
    for _, name in ipairs({"mcp-method", "mcp-name"}) do
        local values = sent(headers, name)
        if #values > 0 then
            asked[name] = values
        end
    end
    local answer = core.httpclient():get{url = url, headers = asked, timeout = TIMEOUT}
    local status = answer and answer.status
    if status ~= 200 and status ~= 401 and status ~= 403 then
        return
    end
    for _, name in ipairs(TOLD) do
        txn:set_var("txn.remit_" .. name, first(answer.headers, "x-agent-" .. name:gsub("_", "-")))
    end
    txn:set_var("txn.remit_challenge", first(answer.headers, "www-authenticate"))
    if first(answer.headers, "x-agent-error") == "undecided" then
        return
    end
    txn:set_var("txn.remit_status", status)
end, 1)
