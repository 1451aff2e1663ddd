// A responder of nats.go that answers service.ping: nats_responder nats://HOST:PORT
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
)

func main() {
	nc, err := nats.Connect(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	_, err = nc.Subscribe("service.ping", func(m *nats.Msg) {
		if err := m.Respond([]byte("pong")); err != nil {
			log.Print(err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	// The subscription is known to the server before anybody is told of it.
	if err := nc.Flush(); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("serving %s\n", os.Args[1])
	select {}
}
