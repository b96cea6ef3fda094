module github.com/thrumserve/thrum/server/oip/gen

go 1.26.0
