// The Go contestant: a plain echo, or a relay of two io.Copy, on net's own poller.
//
//	server ADDRESS            echoes
//	server ADDRESS ORIGIN     relays each connection to ORIGIN
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

// What a connection of the echo reads into.
const bufferSize = 16 * 1024

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 1 && len(arguments) != 2 {
		return fmt.Errorf("usage: server ADDRESS [ORIGIN]")
	}
	listener, err := net.Listen("tcp4", arguments[0])
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		client := connection.(*net.TCPConn)
		if len(arguments) == 1 {
			go echo(client)
		} else {
			go relay(client, arguments[1])
		}
	}
}

func echo(client *net.TCPConn) {
	defer client.Close()
	buffer := make([]byte, bufferSize)
	for {
		count, err := client.Read(buffer)
		if err != nil {
			return
		}
		if _, err := client.Write(buffer[:count]); err != nil {
			return
		}
	}
}

func relay(client *net.TCPConn, origin string) {
	defer client.Close()
	connection, err := net.Dial("tcp4", origin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	server := connection.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{})
	go func() {
		forward(server, client)
		close(done)
	}()
	forward(client, server)
	<-done
}

// forward copies until the source ends, and passes that end on. io.Copy splices on Linux.
func forward(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	to.CloseWrite()
}
