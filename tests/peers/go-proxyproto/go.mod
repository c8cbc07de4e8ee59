module sniproxy.test/proxyproto

go 1.24.0

require github.com/pires/go-proxyproto v0.11.0
