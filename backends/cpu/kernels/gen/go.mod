module github.com/thrumserve/thrum/backends/cpu/kernels/gen

go 1.26.0
