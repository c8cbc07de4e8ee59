// go-proxyproto as a peer: an implementation of the PROXY protocol that shares no code with ours.
//
//	go-proxyproto listen -cert FILE -key FILE
//
// reads a header from each connection, terminates TLS behind it and says "hello". It prints {"port": N}, and then an
// object for each connection: the header, and the server name of the TLS handshake.
//
//	go-proxyproto dial -to HOST:PORT -name NAME -trust FILE -header JSON
//
// writes a header, makes a TLS handshake behind it, and prints {"said": ...}. JSON is as what listen prints: {"version",
// "source", "destination", "tlvs"}; TLVs are hexadecimal values by their type in hexadecimal.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/pires/go-proxyproto"
)

type header struct {
	Version     byte              `json:"version"`
	Source      string            `json:"source"`
	Destination string            `json:"destination"`
	TLVs        map[string]string `json:"tlvs"`
	Name        string            `json:"name,omitempty"`
	Error       string            `json:"error,omitempty"`
}

const patience = 20 * time.Second

func main() {
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	certificate := flags.String("cert", "", "PEM of the certificate and its chain")
	key := flags.String("key", "", "PEM of its key")
	to := flags.String("to", "", "host:port to dial")
	name := flags.String("name", "", "server name")
	trust := flags.String("trust", "", "PEM of the authority")
	text := flags.String("header", "{}", "the header to send")
	flags.Parse(os.Args[2:])
	var err error
	if os.Args[1] == "listen" {
		err = listen(*certificate, *key)
	} else {
		err = dial(*to, *name, *trust, *text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(value any) {
	line, _ := json.Marshal(value)
	fmt.Println(string(line))
}

func listen(certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	say(map[string]int{"port": plain.Addr().(*net.TCPAddr).Port})
	// REQUIRE: a connection without a header is an error.
	listener := &proxyproto.Listener{
		Listener: plain, ReadHeaderTimeout: patience,
		ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.REQUIRE, nil },
	}
	for {
		accepted, err := listener.Accept()
		if err != nil {
			return err
		}
		go serve(accepted.(*proxyproto.Conn), pair)
	}
}

func serve(conn *proxyproto.Conn, pair tls.Certificate) {
	defer conn.Close()
	secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
	conn.SetDeadline(time.Now().Add(patience))
	// The handshake is the first read, which reads the header.
	failure := secure.Handshake()
	found := header{TLVs: map[string]string{}, Name: secure.ConnectionState().ServerName}
	if failure != nil {
		found.Error = failure.Error()
	}
	if read := conn.ProxyHeader(); read != nil {
		found.Version = read.Version
		if !read.Command.IsLocal() {
			found.Source, found.Destination = conn.RemoteAddr().String(), conn.LocalAddr().String()
		}
		fields, err := read.TLVs()
		if err != nil {
			found.Error = err.Error()
		}
		for _, field := range fields {
			found.TLVs[strconv.FormatUint(uint64(field.Type), 16)] = hex.EncodeToString(field.Value)
		}
	}
	say(found)
	fmt.Fprintln(secure, "hello")
	secure.Close()
}

func dial(to, name, trust, text string) error {
	var wanted header
	if err := json.Unmarshal([]byte(text), &wanted); err != nil {
		return err
	}
	authority, err := os.ReadFile(trust)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	conn, err := net.DialTimeout("tcp", to, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	written, err := wanted.made()
	if err != nil {
		return err
	}
	if _, err := written.WriteTo(conn); err != nil {
		return err
	}
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots})
	said, err := bufio.NewReader(secure).ReadString('\n')
	if err != nil {
		return err
	}
	say(map[string]string{"said": said})
	return nil
}

func (wanted header) made() (*proxyproto.Header, error) {
	if wanted.Source == "" {
		return &proxyproto.Header{Version: wanted.Version, Command: proxyproto.LOCAL}, nil
	}
	source, err := net.ResolveTCPAddr("tcp", wanted.Source)
	if err != nil {
		return nil, err
	}
	destination, err := net.ResolveTCPAddr("tcp", wanted.Destination)
	if err != nil {
		return nil, err
	}
	made := proxyproto.HeaderProxyFromAddrs(wanted.Version, source, destination)
	var fields []proxyproto.TLV
	for kind, value := range wanted.TLVs {
		number, err := strconv.ParseUint(kind, 16, 8)
		if err != nil {
			return nil, err
		}
		content, err := hex.DecodeString(value)
		if err != nil {
			return nil, err
		}
		fields = append(fields, proxyproto.TLV{Type: proxyproto.PP2Type(number), Value: content})
	}
	if len(fields) > 0 {
		if err := made.SetTLVs(fields); err != nil {
			return nil, err
		}
	}
	return made, nil
}
